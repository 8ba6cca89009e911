"""What each text costs a language model: the nats of the tokens that it predicts.

Each text is read on its own, from the zero state, in the layout in which the metrics stage reads
the held-out text: lanes and documents from the first token to the last; of windows only the token
that follows each is predicted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np

from pipelines.batches.columns import padded
from pipelines.batches.dataset import Batch
from pipelines.mix.mixed_scorer import scorer_of
from pipelines.model.scoring import Scored, Scorer
from pipelines.numpy_network.network import NumpyNetwork
from pipelines.numpy_network.scorer import NumpyScorer
from pipelines.serving.answers import problem_of
from pipelines.serving.batching import (
    MAX_ROWS,
    MAX_SLOTS,
    MAX_TOKENS,
    groups,
    rows_by_length,
    width_of,
)
from pipelines.serving.package import Cut
from pipelines.serving.predictor import UNITS, Predictor, Watch
from pipelines.tokens.vocabulary import Vocabulary

CHUNK = 512  # tokens of long texts that are read at once


@dataclass(frozen=True)
class Cost:
    """Of one text: sums over the predicted tokens. `characters` are those that they spell: exact if
    each token is a character, else in proportion to all tokens of the text."""

    nats: float
    tokens: int
    characters: float

    @property
    def bits_per_character(self) -> float:
        return self.nats / math.log(2) / self.characters


class TextCosts:
    """Asks a loaded language model."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor, self._vocabulary = predictor, predictor.vocabulary
        self._scorer = _scorer(predictor)
        self._window = predictor.window if predictor.layout == "windows" else None

    def of(self, texts: Iterable[Any], watch: Watch | None = None) -> list[Cost | str]:
        """One per text: its cost, or why it has none (empty, missing, not valid Unicode, too short
        to predict anything). `watch` is called as by `Predictor.judged`."""
        return [one for group in groups(texts) for one in self._group(group, watch)]

    def _group(self, group: list[Any], watch: Watch | None) -> Iterator[Cost | str]:
        problems = [problem_of(text) for text in group]
        sound = [
            self._predictor.cleaned(text)
            for text, problem in zip(group, problems, strict=True)
            if problem is None
        ]
        ids, _, whole = coded(sound, self._vocabulary, self._predictor.tokens)
        if watch is not None:
            watch(whole, ids)
        nats = self._nats(ids)
        costs = (
            self._cost(float(nats[i]), row, int(whole[i]), len(sound[i]))
            for i, row in enumerate(ids)
        )
        return (next(costs) if problem is None else problem for problem in problems)

    def _cost(self, nats: float, ids: np.ndarray, whole: int, characters: int) -> Cost | str:
        """Of a text with so many tokens, of which `ids` are read, and so many characters."""
        markers = self._vocabulary.markers
        predicted = ids[self._window or 1 :]
        spelling = int((~np.isin(predicted, markers)).sum())
        if not spelling:
            fewest = (self._window or 1) + (self._vocabulary.begin_id is None)
            unit = UNITS[self._vocabulary.kind].removesuffix("s" if fewest == 1 else "")
            return f"the text is too short: the model needs {fewest} {unit} or more"
        share = spelling / (whole - len(markers))
        return Cost(nats, len(predicted), characters * share)

    def _nats(self, ids: list[np.ndarray]) -> np.ndarray:
        """(texts,): those of all predicted tokens of each."""
        nats = np.zeros(len(ids))
        for owners, batch in self._windows(ids) if self._window else self._whole_texts(ids):
            nats += np.bincount(owners, batch.nats.sum(axis=1), len(ids))
        return nats

    def _whole_texts(self, ids: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Scored]]:
        """The scored batches, and the number of the text in each of their rows."""
        pad_id, few = self._vocabulary.pad_id, self._predictor.few_shapes
        inputs = [max(len(row) - 1, 0) for row in ids]
        long = [[i] for i, length in enumerate(inputs) if length > MAX_TOKENS]
        for rows in (*rows_by_length(inputs, few_shapes=few), *long):
            rows = [i for i in reversed(rows) if inputs[i]]
            if not rows:
                continue
            width = min(width_of(inputs[rows[0]], None, few), CHUNK)
            height = 1 << (len(rows) - 1).bit_length() if few else len(rows)
            together = SideBySide([ids[i] for i in rows], pad_id, width, height)
            for batch in self._scorer.batches(together):
                yield np.array(rows[: len(batch.nats)]), batch

    def _windows(self, ids: list[np.ndarray]) -> Iterator[tuple[np.ndarray, Scored]]:
        """The same, of all windows."""
        width = self._window or 0
        windows = [max(len(row) - width, 0) for row in ids]
        if not sum(windows):
            return
        ends = np.cumsum([0, *map(len, ids)])
        starts = np.concatenate(
            [np.arange(first, first + count) for first, count in zip(ends, windows, strict=False)]
        )
        owners, done = np.repeat(np.arange(len(ids)), windows), 0
        rows = max(1, min(MAX_ROWS, MAX_SLOTS // width))
        split = Windows(np.concatenate(ids), starts, self._vocabulary.pad_id, width, rows)
        for batch in self._scorer.batches(split):
            yield owners[done : done + len(batch.nats)], batch
            done += len(batch.nats)


def coded(
    texts: Sequence[str], vocabulary: Vocabulary, cut: Cut
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Of each text the ids that are read, with markers, as in the tokens stage; (texts,) the place
    of the first of them in the whole text; and (texts,) the number of all."""
    flat, edges = vocabulary.encode_all(texts)
    begin, end = ([] if one is None else [one] for one in (vocabulary.begin_id, vocabulary.end_id))
    rows = [
        np.concatenate([begin, flat[first:stop], end]).astype(vocabulary.id_type)
        for first, stop in pairwise(edges)
    ]
    whole = np.array([len(row) for row in rows], np.int64)
    kept = whole if cut.max_tokens is None else np.minimum(whole, cut.max_tokens)
    first = whole - kept if cut.keep == "last" else 0 * whole
    read = [row[at : at + n] for row, at, n in zip(rows, first, kept, strict=True)]
    return read, first, whole


@dataclass(frozen=True)
class SideBySide:
    """Texts that are read together, the longest first, `width` tokens at a time: the state is
    carried on until each has ended."""

    carries_state: ClassVar[bool] = True
    ids: list[np.ndarray]
    pad_id: int
    width: int
    batch_size: int

    def in_order(self, ids: bool = False) -> Iterator[Batch]:
        for at in range(0, len(self.ids[0]) - 1, self.width):
            there = [row[at : at + self.width + 1] for row in self.ids if len(row) - 1 > at]
            yield predicting(there, self.width, self.pad_id)


@dataclass(frozen=True)
class Windows:
    """Rows of `width` ids from each of `starts`, of which only the next token is predicted."""

    carries_state: ClassVar[bool] = False
    ids: np.ndarray
    starts: np.ndarray
    pad_id: int
    width: int
    batch_size: int

    def in_order(self, ids: bool = False) -> Iterator[Batch]:
        steps = np.arange(self.width + 1)
        for at in range(0, len(self.starts), self.batch_size):
            rows = self.ids[self.starts[at : at + self.batch_size, None] + steps]
            yield predicting(list(rows), self.width, self.pad_id, last=True)


def predicting(
    rows: list[np.ndarray], width: int, pad_id: int, last: bool = False, names: Sequence[str] = ()
) -> Batch:
    """A batch of rows with one token more than they read: each predicts the next, or only the
    `last` one."""
    lengths = np.array([len(row) - 1 for row in rows], np.int32)
    tokens, targets = (
        padded(np.concatenate(parts), lengths, width, pad_id)
        for parts in ([row[:-1] for row in rows], [row[1:] for row in rows])
    )
    return Batch(
        tokens.astype(np.int32),
        lengths,
        targets.astype(np.int32),
        np.ones(len(rows), np.float32),
        list(names),
        pad_id,
        predicts_last=last,
    )


def _scorer(predictor: Predictor) -> Scorer:
    if isinstance(predictor.network, NumpyNetwork):
        return NumpyScorer(predictor.network, predictor.spec)
    return scorer_of(predictor.network, predictor.spec)
