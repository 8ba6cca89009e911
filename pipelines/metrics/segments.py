"""The cost of each short segment of the test text for a language model.

Segment boundaries depend only on the text. So two models can be compared segment by segment, even
if one reads characters and the other subwords.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipelines.model.scoring import Scored
from pipelines.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

SEGMENTS = "segments.parquet"
CHARACTERS = 100  # a segment ends at the first white space after this many
MOST_CHARACTERS = 150  # or here, if there is none: Japanese has no spaces
BLANK = re.compile(r"\s")


class Segments:
    """The test text in segments; `add` the scored batches, then `table` has the sums.

    `texts` are the documents named `names`; of each document's tokens, including markers, `lengths`
    are kept, from index `first` on. `positions`: the batches' ids are `name@token`, as for running
    text.
    """

    def __init__(
        self,
        names: Sequence[str],
        texts: Sequence[str],
        vocabulary: Vocabulary,
        first: np.ndarray,
        lengths: np.ndarray,
        positions: bool,
    ) -> None:
        self.names, self.positions = names, positions
        self.cuts = [list(cuts(text)) for text in texts]
        self.markers, self.unknown_id = list(vocabulary.markers), vocabulary.unknown_id
        self._number = {name: i for i, name in enumerate(names)}
        self._begins = np.concatenate([[0], np.cumsum(lengths)])  # (documents + 1,) tokens
        self._sizes = np.array([b - a for cut in self.cuts for a, b in pairwise(cut)], np.int64)
        ends, self._text_tokens = _token_ends(texts, self.cuts, vocabulary)
        begin = int(vocabulary.begin_id is not None)
        self._segment = _segments_of_tokens(ends, first - begin, lengths)
        self._sums = np.zeros((4, len(self._sizes)))  # tokens, without markers, unknown ones, nats
        self._scored: list[np.ndarray] = []  # the segments of the tokens, batch by batch

    @classmethod
    def of(
        cls, corpus: Artifact, tokens: Artifact, vocabulary: Vocabulary, keep: str, positions: bool
    ) -> Segments:
        """Of the test split, from the artifacts corpus and tokens; `keep` says which end of a long
        document is kept."""
        documents = corpus.table("documents/test-", ["id", "text"])
        coded = tokens.table("tokens/test-", ["length", "truncated"])
        truncated = coded["truncated"].to_numpy()
        first = truncated if keep == "last" else np.zeros_like(truncated)
        return cls(
            documents["id"].to_pylist(),
            documents["text"].to_pylist(),
            vocabulary,
            first,
            coded["length"].to_numpy(),
            positions,
        )

    def watch(self, scored: Iterator[Scored]) -> Iterator[Scored]:
        """The same batches, each added as it passes."""
        for one in scored:
            self.add(one)
            yield one

    def add(self, one: Scored) -> None:
        real, targets = one.batch.real, one.batch.outcome
        places = self._first_tokens(one.batch.ids)[:, None] + np.arange(1, targets.shape[1] + 1)
        segment, targets = self._segment[places[real]], targets[real]
        self._scored.append(segment)
        text, unknown = ~np.isin(targets, self.markers), targets == self.unknown_id
        for row, weights in enumerate((np.ones(len(text)), text, unknown, one.nats[real])):
            self._sums[row] += np.bincount(segment, weights, self._sums.shape[1])

    def summed(self, values: np.ndarray) -> np.ndarray:
        """(segments,): sums of the values of the predicted tokens, in the order of the batches."""
        return np.bincount(np.concatenate(self._scored), values, self._sums.shape[1])

    def _first_tokens(self, ids: Sequence[str]) -> np.ndarray:
        """(rows,): the position of each row's first token in the concatenated test tokens."""
        if not self.positions:
            return self._begins[[self._number[name] for name in ids]]
        parts = [name.rpartition("@") for name in ids]
        return np.array([self._begins[self._number[name]] + int(at) for name, _, at in parts])

    def table(self) -> pa.Table:
        """One row per segment, in the text's order: id of the document, start (character in it),
        characters (spelled by the predicted tokens), tokens, unknown (of these), nats."""
        tokens, text, unknown, nats = self._sums
        spelled = self._sizes * text / np.maximum(self._text_tokens, 1)
        # The sum equals what the metrics count: see TokenizedSplit.spelled of the batches.
        characters = round(self._sizes.sum() * text.sum() / max(self._text_tokens.sum(), 1))
        return pa.table(
            {
                "id": [
                    name for name, cut in zip(self.names, self.cuts, strict=True) for _ in cut[1:]
                ],
                "start": np.array([a for cut in self.cuts for a in cut[:-1]], np.int64),
                "characters": spelled * (characters / max(spelled.sum(), 1e-9)),
                "tokens": tokens.astype(np.int64),
                "unknown": unknown.astype(np.int64),
                "nats": nats,
            }
        )


def cuts(text: str) -> Iterator[int]:
    """Where the segments of a text start, and the text's end. Only very long words are cut."""
    at = 0
    yield at
    while len(text) - at > MOST_CHARACTERS:
        blank = BLANK.search(text, at + CHARACTERS, at + MOST_CHARACTERS)
        at = blank.start() if blank else at + CHARACTERS
        yield at
    if text:
        yield len(text)


def _token_ends(
    texts: Sequence[str], where: list[list[int]], vocabulary: Vocabulary
) -> tuple[list[np.ndarray], np.ndarray]:
    """Per document, after which of its tokens each segment ends; and the tokens per segment.

    Subwords may cross a boundary: then the document's tokens are distributed in proportion.
    """
    pieces = [text[a:b] for text, cut in zip(texts, where, strict=True) for a, b in pairwise(cut)]
    of_pieces = np.diff(vocabulary.encode_all(pieces)[1])
    of_texts = np.diff(vocabulary.encode_all(texts)[1])
    ends, at = [], 0
    for cut, tokens in zip(where, of_texts, strict=True):
        counted = np.cumsum(of_pieces[at : at + len(cut) - 1])
        at += len(cut) - 1
        if len(counted) and counted[-1] != tokens:
            counted = np.rint(counted * (tokens / max(counted[-1], 1)))
        ends.append(counted.astype(np.int64))
    counts = [np.diff(end, prepend=0) for end in ends]
    return ends, np.concatenate([np.empty(0, np.int64), *counts])


def _segments_of_tokens(
    ends: list[np.ndarray], first: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """(tokens,): the segment of every token of the split, concatenated; a marker belongs to that of
    its neighbour. Token 0 of document i has index `first[i]` in its text."""
    found, before = [np.empty(0, np.int64)], 0
    for end, start, length in zip(ends, first, lengths, strict=True):
        places = np.arange(start, start + length)
        found.append(before + np.minimum(np.searchsorted(end, places, side="right"), len(end) - 1))
        before += len(end)
    return np.concatenate(found)
