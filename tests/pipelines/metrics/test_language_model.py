"""Scored batches to sums, positions and the text that the baselines are to predict."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipelines.batches.dataset import Batch
from pipelines.metrics.language_model import POSITION_EDGES, HeldOut, figures, language_metrics
from pipelines.model.scoring import Scored


def scored(ids: list[list[int]], read: list[int], names: str, last: bool = False) -> Scored:
    """Rows of ids, the first of each only read; each predicted token costs its id in nats, and
    even ids are guessed right."""
    width = max(map(len, ids)) - 1
    tokens, targets = np.zeros((2, len(ids), width), np.int32)
    for row, some in enumerate(ids):
        tokens[row, : len(some) - 1], targets[row, : len(some) - 1] = some[:-1], some[1:]
    batch = Batch(
        tokens,
        np.array([len(some) - 1 for some in ids], np.int32),
        targets,
        np.ones(len(ids), np.float32),
        list(names),
        predicts_last=last,
    )
    return Scored(
        batch, targets * 1.0 * batch.real, (targets % 2 == 0) & batch.real, read=np.array(read)
    )


def test_rows_of_documents_stand_alone() -> None:
    held_out = HeldOut.collect(
        [scored([[5, 6, 7], [8, 9]], [0, 0], "ab"), scored([[4, 3, 2, 1]], [0], "c")], lanes=False
    )
    assert held_out.text.ids.tolist() == [5, 6, 7, 8, 9, 4, 3, 2, 1]
    assert held_out.text.before.tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 3]
    assert held_out.predicted.tolist() == [False, True, True, False, True, False, *[True] * 3]
    assert held_out.rows.to_pylist() == [
        {"id": "a", "position": 0, "tokens": 2, "nats": 13, "correct": 1},
        {"id": "b", "position": 0, "tokens": 1, "nats": 9, "correct": 0},
        {"id": "c", "position": 0, "tokens": 3, "nats": 6, "correct": 1},
    ]
    assert held_out.sums == {"tokens": 6, "nats": 28, "correct": 2}


def test_lanes_are_put_together_again() -> None:
    """Two lanes of 5 and 3 tokens, two tokens a batch: each row's first token is repeated."""
    held_out = HeldOut.collect(
        [
            scored([[1, 2, 3], [11, 12, 13]], [0, 0], "ab"),
            scored([[3, 4, 5], [13, 14]], [2, 2], "cd"),
            scored([[5, 6]], [4], "e"),
        ],
        lanes=True,
    )
    assert held_out.text.ids.tolist() == [1, 2, 3, 4, 5, 6, 11, 12, 13, 14]
    assert held_out.text.before.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]
    assert held_out.predicted.tolist() == [False, *[True] * 5, False, *[True] * 3]
    assert held_out.rows["position"].to_pylist() == [0, 0, 2, 2, 4]


def test_windows_count_their_last_token() -> None:
    held_out = HeldOut.collect([scored([[1, 2, 3], [2, 3, 4]], [0, 0], "ab", last=True)], False)
    assert held_out.text.ids.tolist() == [1, 2, 3, 2, 3, 4]
    assert held_out.predicted.tolist() == [False, False, True] * 2
    assert held_out.sums == {"tokens": 2, "nats": 7, "correct": 1}


def test_positions_sum_to_the_whole() -> None:
    """Tokens read before the predicted one: 1 to 9, then 10 to 29, then 30 and 31."""
    long = list(range(1, 21))
    held_out = HeldOut.collect(
        [scored([long], [0], "a"), scored([long[:13]], [19], "b")], lanes=True
    )
    tokens, nats = held_out.by_position
    assert dict(zip([0, *POSITION_EDGES], tokens, strict=True)) == {
        0: 0,
        1: 9,
        10: 20,
        30: 2,
        100: 0,
        300: 0,
        1000: 0,
        10_000: 0,
        100_000: 0,
    }
    assert tokens.sum() == held_out.sums["tokens"] == 19 + 12
    assert nats[1] == sum(range(2, 11))
    assert nats.sum() == pytest.approx(held_out.sums["nats"])


def test_figures_by_hand() -> None:
    found = figures({"tokens": 8, "nats": 16.0, "correct": 2}, characters=32)
    assert found == {
        "bits_per_character": pytest.approx(0.5 / math.log(2)),
        "nats_per_character": 0.5,
        "perplexity": pytest.approx(math.e**2),
        "accuracy": 0.25,
    }
    assert math.isfinite(figures({"tokens": 1, "nats": 1e6, "correct": 0}, 1)["perplexity"])


def test_metrics_count_unknown_predictions() -> None:
    held_out = HeldOut.collect([scored([[1, 1, 5, 1, 6]], [0], "a")], lanes=False)
    metrics = language_metrics(held_out, characters=26, unknown_id=1)
    assert metrics["sums"] == {
        "tokens": 4,
        "characters": 26,
        "nats": 13.0,
        "correct": 1,
        "unknown": 2,
    }
    assert metrics["headline"]["nats_per_character"] == 0.5
