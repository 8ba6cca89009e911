"""Figures by class of a classifier, and their macro average, with intervals.

A document that no class was predicted for has the prediction NONE.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pipelines.stats.bootstrap import RESAMPLES, SEED, Interval, interval

NONE = -1
AT_ONCE = 2**22  # numbers of documents that are drawn at once


class ClassSums(NamedTuple):
    """Documents (…, classes): truly of a class, predicted to be of it, and both."""

    documents: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray

    @property
    def figures(self) -> dict[str, np.ndarray]:
        """NaN where a figure is undefined."""
        return {
            "precision": _share(self.correct, self.predicted),
            "recall": _share(self.correct, self.documents),
            "f1": _share(2 * self.correct, self.documents + self.predicted),
        }

    @property
    def macro_f1(self) -> np.ndarray:
        """(…,): the mean over the classes that occur, truly or in predictions."""
        return np.nanmean(self.figures["f1"], axis=-1)


def confusion_cells(*columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The combinations (cells, columns) that occur of classes (documents,), such as the true and
    the predicted one, and the documents (cells,) of each."""
    numbers = np.stack(columns, axis=1).astype(np.int64)
    cells, documents = np.unique(numbers, axis=0, return_counts=True)
    return cells, documents


def class_sums(
    true: np.ndarray, predicted: np.ndarray, documents: np.ndarray, classes: int
) -> ClassSums:
    """From cells (cells,) and the documents (…, cells) of each."""

    def of(numbers: np.ndarray, counted: np.ndarray) -> np.ndarray:
        from scipy.sparse import csr_matrix

        ones = (counted & (numbers != NONE)).astype(np.float64)
        places = (np.arange(len(numbers)), np.maximum(numbers, 0))
        return documents @ csr_matrix((ones, places), (len(numbers), classes))

    every = np.ones(len(true), bool)
    return ClassSums(of(true, every), of(predicted, every), of(true, true == predicted))


def class_figures(
    label: np.ndarray, predicted: np.ndarray, classes: int, confidence: float = 0.95
) -> tuple[list[dict[str, Any]], Interval]:
    """[{documents, predicted, correct, and for each figure its value, low and high}] by class, and
    the interval of the macro F1, by resampling documents. None where a figure is undefined."""
    cells, documents = confusion_cells(label, predicted)
    true, said = cells.T
    sums = class_sums(true, said, documents, classes)
    drawn = [class_sums(true, said, some, classes) for some in _resampled(documents)]
    rows: list[dict[str, Any]] = [
        dict(zip(ClassSums._fields, map(int, counts), strict=True))
        for counts in zip(*sums, strict=True)
    ]
    for name, values in sums.figures.items():
        spread = np.concatenate([one.figures[name] for one in drawn])  # (resamples, classes)
        for row, value, resamples in zip(rows, values, spread.T, strict=True):
            row[name] = _figure(float(value), resamples[~np.isnan(resamples)], confidence)
    macro = np.concatenate([one.macro_f1 for one in drawn])
    return rows, interval(macro, confidence)


def macro_f1(label: np.ndarray, predicted: np.ndarray) -> float:
    cells, documents = confusion_cells(label, predicted)
    true, said = cells.T
    return float(class_sums(true, said, documents, int(cells.max()) + 1).macro_f1)


def macro_f1_difference(
    label: np.ndarray, old: np.ndarray, new: np.ndarray, confidence: float
) -> Interval:
    """The interval of `new` minus `old`, two predictions for the same documents (documents,), which
    are resampled."""
    cells, documents = confusion_cells(label, old, new)
    true, *both = cells.T
    classes = int(cells.max()) + 1
    effects = [
        np.subtract(*(class_sums(true, one, some, classes).macro_f1 for one in reversed(both)))
        for some in _resampled(documents)
    ]
    return interval(np.concatenate(effects), confidence)


def _resampled(documents: np.ndarray) -> Iterator[np.ndarray]:
    """The documents (some resamples, cells) in each cell, if they are drawn with replacement: as
    many numbers as there are cells, not documents."""
    random = np.random.default_rng(SEED)
    total = int(documents.sum())
    step = max(1, AT_ONCE // len(documents))
    for first in range(0, RESAMPLES, step):
        yield random.multinomial(total, documents / total, min(step, RESAMPLES - first))


def _figure(value: float, resamples: np.ndarray, confidence: float) -> dict[str, float] | None:
    if np.isnan(value) or not len(resamples):
        return None
    return {"value": value, **interval(resamples, confidence)._asdict()}


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    undefined = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)
