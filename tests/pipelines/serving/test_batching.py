"""Which texts share a call of the model, and how much of it is padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.serving.batching import (
    MAX_ROWS,
    MAX_SLOTS,
    MAX_TOKENS,
    MOST_SPREAD,
    model_inputs,
    rows_by_length,
)

LENGTHS = st.lists(st.integers(1, 3000) | st.just(MAX_TOKENS + 1), max_size=600)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.booleans(), st.sampled_from([None, 3000]))
def test_each_text_is_read_once_in_calls_that_are_bounded(
    lengths: list[int], few: bool, most: int | None
) -> None:
    calls = list(rows_by_length(lengths, most, few))
    assert sorted(i for call in calls for i in call) == [
        i for i, length in enumerate(lengths) if length <= MAX_TOKENS
    ]
    for call in calls:
        tokens, length = model_inputs([np.full(lengths[i], 7) for i in call], 0, most, few)
        assert len(call) <= MAX_ROWS and tokens.size <= 2 * MAX_SLOTS
        assert length[: len(call)].tolist() == [lengths[i] for i in call]
        assert (tokens != 0).sum() == sum(lengths[i] for i in call)
        assert max(length) <= MOST_SPREAD * (min(length[: len(call)]) + 8)


def test_where_shapes_cost_nothing_little_is_filled_up() -> None:
    lengths = np.random.default_rng(1).lognormal(5.3, 0.6, 4000).astype(int) + 1  # as reviews'
    filled = {
        few: sum(
            model_inputs([np.ones(lengths[i]) for i in call], 0, None, few)[0].size
            for call in rows_by_length(lengths.tolist(), None, few)
        )
        for few in (False, True)
    }
    assert filled[False] < 1.15 * lengths.sum() < filled[True]


def test_few_shapes_are_few() -> None:
    shapes = {
        model_inputs([np.ones(lengths)] * rows, 0, None, True)[0].shape
        for lengths in range(1, 2000, 7)
        for rows in (1, 3, 100, 200, 256)
    }
    assert len(shapes) <= 5 * 15


@pytest.mark.parametrize("few", [False, True])
def test_no_wider_than_the_texts_were_cut(few: bool) -> None:
    assert model_inputs([np.ones(37)], 0, 37, few)[0].shape == (1, 37)
