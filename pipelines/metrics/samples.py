"""What a trained language model writes: samples to read, and figures of more of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from pipelines.declaration.spec import EvaluationSpec
from pipelines.metrics import novelty
from pipelines.metrics.novelty import Unit
from pipelines.model.sampling import continuation, until_end
from pipelines.tokens.vocabulary import Vocabulary, split_words

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

# (start (tokens,), temperatures (streams,), tokens a stream, seed) → ids (streams, tokens)
Draw = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]

SAMPLES = 3  # at each temperature, from as many seeds
TOKENS = 8192  # drawn at each temperature for the figures
STREAM_TOKENS = 512  # of running text; documents end by themselves
MOST_CHARACTERS = 10_000_000  # read of a split, the first: what bounds time and memory


class Writer:
    """Continues `spec.start` at the declared temperatures.

    `documents`: the model learned single documents and writes such; else running text.
    """

    def __init__(
        self, draw: Draw, vocabulary: Vocabulary, spec: EvaluationSpec, documents: bool
    ) -> None:
        self.draw, self.vocabulary, self.spec, self.documents = draw, vocabulary, spec, documents
        begin = [] if vocabulary.begin_id is None else [vocabulary.begin_id]
        self.start = np.concatenate([begin, vocabulary.encode(spec.start)]).astype(np.int32)

    def samples(self, seed: int) -> list[dict[str, Any]]:
        """SAMPLES unselected continuations per temperature, of `seed` and the seeds after it:
        start and text are read as one."""
        made = []
        for temperature in self.spec.temperatures:
            for one in range(seed, seed + SAMPLES):
                ids = self.draw(self.start, np.array([temperature]), self.spec.sample_length, one)
                made.append(
                    {
                        "temperature": temperature,
                        "seed": one,
                        "start": self.spec.start,
                        "text": continuation(self.vocabulary, self.spec.start, ids[0]),
                    }
                )
        return made

    def figures(self, corpus: Artifact, seed: int) -> dict[str, Any] | None:
        """Figures of text drawn for them beside those of as much held-out text; None where there
        are no temperatures or no words."""
        if not self.spec.temperatures:
            return None
        documents = list(texts(corpus, "test", self.vocabulary))
        unit = novelty.unit_of("".join(documents))
        written = self._written(unit, seed)
        held_out = self._held_out(documents, next(iter(written.values())), unit, seed)
        train = texts(corpus, "train", self.vocabulary)
        return novelty.side_by_side(written | {"held_out": held_out}, train, unit)

    def _held_out(
        self, documents: list[str], written: list[str], unit: Unit, seed: int
    ) -> list[str]:
        """About as much of the test split, in pieces like those written."""
        if not self.documents:
            return novelty.stretches(
                "\n".join(documents), len(written), max(map(len, written)), unit
            )
        np.random.default_rng(seed).shuffle(documents)  # neighbours are alike
        ends = np.cumsum([len(document) for document in documents])
        return documents[: np.searchsorted(ends, sum(map(len, written))) + 1]

    def _written(self, unit: Unit, seed: int) -> dict[str, list[str]]:
        """{temperature: texts}, about as much at each."""
        temperatures = np.array(self.spec.temperatures)
        length = self.spec.sample_length if self.documents else STREAM_TOKENS
        streams = max(1, TOKENS // length)
        drawn = self.draw(self.start, np.repeat(temperatures, streams), length, seed)
        return {
            f"{temperature:g}": [self._text(row, unit) for row in rows]
            for temperature, rows in zip(
                temperatures, np.split(drawn, len(temperatures)), strict=True
            )
        }

    def _text(self, ids: np.ndarray, unit: Unit) -> str:
        """A document with its start; or running text without, and without words cut in two."""
        told = until_end(self.vocabulary, ids)
        if not self.documents:
            return novelty.without_cut_words(self.vocabulary.decode(told), unit)
        text = self.vocabulary.decode(np.concatenate([self.start, told]))
        ended = len(told) < len(ids)
        return text if ended else novelty.without_last_word(text, unit)


def texts(corpus: Artifact, split: str, vocabulary: Vocabulary) -> Iterator[str]:
    """A split's documents as the model could write them, MOST_CHARACTERS of them at the most.

    Of a vocabulary of words those words joined by blanks, whether it knows them or not.
    """
    left = MOST_CHARACTERS
    for shard in corpus.files(f"documents/{split}-"):
        for text in _as_written(pl.read_parquet(shard, columns=["text"])["text"], vocabulary):
            yield text[:left]
            left -= len(text)
            if left <= 0:
                return


def _as_written(documents: pl.Series, vocabulary: Vocabulary) -> pl.Series:
    if vocabulary.kind == "word":
        return split_words(documents, vocabulary.lower, vocabulary.words).list.join(" ")
    return documents.str.to_lowercase() if vocabulary.lower else documents
