"""What a language model spends by segment of the test text, on models that the stages trained."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.metrics.segments import MOST_CHARACTERS, SEGMENTS, Segments, cuts
from pipelines.store.settings import Settings
from pipelines.tokens.vocabulary import Vocabulary
from tests.conftest import artifact_of

NAMES = ("tiny-play", "tiny-words", "tiny-japanese")


def home_of(name: str, trained: Settings, writers: Settings) -> Settings:
    return trained if name == "tiny-play" else writers


@given(st.text(alphabet="ab cd\n", max_size=2000))
def test_segments_hold_all_of_the_text_and_cut_no_word(text: str) -> None:
    places = list(cuts(text))
    assert places[0] == 0 and places[-1] == len(text)
    for a, b in pairwise(places):
        assert 0 < b - a <= MOST_CHARACTERS
        assert b == len(text) or text[b].isspace() or not any(map(str.isspace, text[a + 100 : b]))


@pytest.mark.parametrize("name", NAMES)
def test_the_sums_are_those_of_the_metrics(name: str, trained: Settings, writers: Settings) -> None:
    path = artifact_of(home_of(name, trained, writers), name, "metrics").path
    sums = json.loads((path / "metrics.json").read_bytes())["sums"]
    table = pq.read_table(path / SEGMENTS)
    for key in ("tokens", "unknown", "nats", "characters"):
        assert np.sum(table[key].to_numpy()) == pytest.approx(sums[key], rel=1e-9), key
    assert table.num_rows > 20


@pytest.mark.parametrize("name", NAMES)
def test_each_token_is_in_its_own_segment(name: str, trained: Settings, writers: Settings) -> None:
    """Told from the text: a segment has as many tokens as its characters encode to."""
    home = home_of(name, trained, writers)
    table = pq.read_table(artifact_of(home, name, "metrics").path / SEGMENTS).to_pylist()
    documents = pq.read_table(
        artifact_of(home, name, "corpus").path / "documents" / "test-0000.parquet"
    )
    texts = dict(zip(documents["id"].to_pylist(), documents["text"].to_pylist(), strict=True))
    vocabulary = Vocabulary.load(artifact_of(home, name, "tokens").path / "vocabulary")
    exact = 0
    for row, after in zip(table, [*table[1:], {"id": None}], strict=True):
        stop = after["start"] if after["id"] == row["id"] else None
        tokens = len(vocabulary.encode(texts[row["id"]][row["start"] : stop]))
        exact += abs(row["tokens"] - tokens) <= (1 if vocabulary.markers else 0)
    assert exact >= len(table) - 1  # of the first segment the first tokens are not predicted


def test_where_segments_begin_does_not_depend_on_the_tokens(
    trained: Settings, writers: Settings
) -> None:
    texts, names = ["Ay, my good lord. " * 30, "Short."], ["a", "b"]
    tables = []
    for home, name in ((trained, "tiny-play"), (writers, "tiny-words"), (writers, "tiny-japanese")):
        vocabulary = Vocabulary.load(artifact_of(home, name, "tokens").path / "vocabulary")
        lengths = np.array([len(vocabulary.encode(text)) for text in texts])
        tables.append(Segments(names, texts, vocabulary, np.zeros(2, int), lengths, False).table())
    starts = [
        list(zip(*(table[key].to_pylist() for key in ("id", "start")), strict=True))
        for table in tables
    ]
    assert starts[0] == starts[1] == starts[2] and starts[0][-1] == ("b", 0)
