"""Samples and figures of generated text, with draws that are known beforehand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.declaration.spec import EvaluationSpec
from pipelines.metrics import samples
from pipelines.metrics.samples import Writer, texts
from pipelines.store.artifacts import Artifact
from pipelines.tokens.vocabulary import Vocabulary
from tests.conftest import artifact_in

LETTERS = Vocabulary(
    "char", False, ("<pad>", "<unknown>", "*", *"\n abcdehnot"), (1,) * 13, end="*"
)
WORDS = Vocabulary("word", True, ("<pad>", "<unknown>", "on", "the", "cat", "sat"), (1,) * 6)


@pytest.fixture
def corpus(tmp_path: Path) -> Artifact:
    (tmp_path / "documents").mkdir()
    for name, rows in {
        "train-0000": ["The cat sat.", "On!"],
        "train-0001": ["the end"],
        "test-0000": ["The cat sat on the mat.", "the"],
    }.items():
        pl.DataFrame({"text": rows}).write_parquet(tmp_path / "documents" / f"{name}.parquet")
    return artifact_in(tmp_path)


def echo(vocabulary: Vocabulary, text: str, end: bool = False):
    """A draw that writes `text`, closes it if `end`, and goes on with rubbish."""
    ids = [*vocabulary.encode(text), *([vocabulary.end_id] if end else [])]

    def draw(start: np.ndarray, temperatures: np.ndarray, length: int, seed: int) -> np.ndarray:
        draw.calls.append((start.tolist(), temperatures.tolist(), length, seed))
        row = np.resize(np.array([*ids, 4, 5] if end else ids, np.int32), length)
        return np.tile(row, (len(temperatures), 1))

    draw.calls = []
    return draw


def test_three_samples_per_temperature_until_the_end() -> None:
    draw = echo(LETTERS, "hat", end=True)
    spec = EvaluationSpec(start="a b", temperatures=(0.0, 0.75), sample_length=9)
    made = Writer(draw, LETTERS, spec, True).samples(7)
    assert made == [
        {"temperature": t, "seed": seed, "start": "a b", "text": "hat"}
        for t in (0.0, 0.75)
        for seed in (7, 8, 9)
    ]
    start = LETTERS.encode("a b").tolist()
    assert draw.calls == [(start, [t], 9, seed) for t in (0.0, 0.75) for seed in (7, 8, 9)]


def test_start_and_words_are_read_as_one() -> None:
    spec = EvaluationSpec(start="The cat", temperatures=(1.0,), sample_length=3)
    made, *_ = Writer(echo(WORDS, "sat on the"), WORDS, spec, False).samples(1)
    assert made["start"] + made["text"] == "The cat sat on the"


def test_a_start_follows_the_begin_token() -> None:
    marked = Vocabulary("word", True, (*WORDS.tokens, "<s>"), (1,) * 7, begin="<s>")
    spec = EvaluationSpec(start="the cat", temperatures=(1.0,))
    assert Writer(echo(marked, "on"), marked, spec, True).start.tolist() == [6, 3, 4]
    empty = Writer(echo(marked, "on"), marked, EvaluationSpec(start=""), True)
    assert empty.start.tolist() == [6]


def test_figures_of_running_text(corpus: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "TOKENS", 60)
    monkeypatch.setattr(samples, "STREAM_TOKENS", 20)
    draw = echo(WORDS, "the cat sat on")
    spec = EvaluationSpec(start="on", temperatures=(0.5, 1.0))
    found = Writer(draw, WORDS, spec, False).figures(corpus, 1)
    assert draw.calls == [([2], [0.5] * 3 + [1.0] * 3, 20, 1)]
    assert list(found["texts"]) == ["0.5", "1", "held_out"]
    # Held out are 'the cat sat on the mat', of which train lacks the last word, and 'the'.
    assert (found["unit"], found["units"]) == ("words", 7)
    assert found["texts"]["1"]["known"]["share"] == 1
    assert found["texts"]["held_out"]["known"] == {"count": 6, "of": 7, "share": 6 / 7}
    assert found["train_characters"] == len("the cat satonthe end")


def test_figures_of_documents_include_their_start(corpus: Artifact) -> None:
    spec = EvaluationSpec(start="the ", temperatures=(1.0,), sample_length=9)
    found = Writer(echo(LETTERS, "cat not", end=True), LETTERS, spec, True).figures(corpus, 1)
    assert found["texts"]["1"]["new_3"] == {"count": 2, "of": 2, "share": 1.0}  # the cat not
    assert found["units"] == 7  # of the two held-out documents, whole


def test_no_temperature_no_figures(corpus: Artifact) -> None:
    spec = EvaluationSpec(temperatures=())
    writer = Writer(echo(LETTERS, "a"), LETTERS, spec, False)
    assert writer.samples(1) == [] and writer.figures(corpus, 1) is None


def test_texts_as_the_model_could_write_them(
    corpus: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(texts(corpus, "train", LETTERS)) == ["The cat sat.", "On!", "the end"]
    assert list(texts(corpus, "test", WORDS)) == ["the cat sat on the mat", "the"]
    monkeypatch.setattr(samples, "MOST_CHARACTERS", 14)
    assert list(texts(corpus, "train", LETTERS)) == ["The cat sat.", "On"]
