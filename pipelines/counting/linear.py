"""Linear models of the n-grams of 1 to 3 words and signs that a document contains.

`linear_training.py` trains them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.counting.arrays import read_array
from pipelines.errors import DamagedError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FEATURES = 2**22  # n-grams are hashed into so many columns: that bounds the memory
LONGEST = 3  # words in an n-gram
MOST_CHARACTERS = 1_000_000  # of a text that are read: its n-grams take 40 MB
SHORTEST = 1e-12  # the square of a document's length: one without n-grams is not divided by 0
COLUMNS, WEIGHTS, SQUARES = "columns.npy", "weights.npy", "squares.npy"
WORD = r"[^\W_]+(?:'[^\W_]+)?|[^\w\s]"  # or a single sign


def seen_grams(texts: Sequence[str]) -> csr_matrix:
    """(texts, FEATURES): 1 for each n-gram in a text, of which MOST_CHARACTERS are read."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        token_pattern=WORD,
        ngram_range=(1, LONGEST),
        n_features=FEATURES,
        binary=True,
        norm=None,
        alternate_sign=False,
    )
    return vectorizer.transform([text[:MOST_CHARACTERS] for text in texts])


@dataclass(frozen=True)
class Linear:
    """A fitted model. `squares` (FEATURES,) are those of the values of a document's n-grams, which
    are scaled to length 1. Without it, they are not scaled."""

    weights: np.ndarray
    intercept: float
    squares: np.ndarray | None

    def logit(self, grams: csr_matrix) -> np.ndarray:
        """(documents,): of class 1."""
        found = grams @ self.weights
        if self.squares is not None:
            found /= lengths(grams, self.squares)
        return found + self.intercept

    def write(self, folder: Path) -> None:
        """The weights and squares of the n-grams that count, as float32."""
        assert self.squares is not None
        columns = np.flatnonzero(self.squares)
        np.save(folder / COLUMNS, columns.astype(np.int32))
        np.save(folder / WEIGHTS, self.weights[columns].astype(np.float32))
        np.save(folder / SQUARES, self.squares[columns].astype(np.float32))

    @classmethod
    def read(cls, folder: Path, intercept: float, scaled: bool = True) -> Linear:
        """What `write` wrote, or an older version did without squares if it is not `scaled`.
        Raises DamagedError if it is anything else."""
        columns = read_array(folder / COLUMNS, "int32")
        ascending = bool((np.diff(columns) > 0).all())
        if not ascending or (len(columns) and not 0 <= columns[0] <= columns[-1] < FEATURES):
            raise DamagedError(f"{folder / COLUMNS}: not ascending columns below {FEATURES}")
        weights = _of_every_column(folder / WEIGHTS, columns)
        if not scaled:
            return cls(weights, intercept, None)
        squares = _of_every_column(folder / SQUARES, columns)
        if (squares < 0).any():
            raise DamagedError(f"{folder / SQUARES}: it has negative numbers")
        return cls(weights, intercept, squares)


def lengths(grams: csr_matrix, squares: np.ndarray) -> np.ndarray:
    """(documents,) or, if the squares are (columns, classes), (documents, classes)."""
    return np.sqrt(np.maximum(grams @ squares, SHORTEST))


def _of_every_column(file: Path, columns: np.ndarray) -> np.ndarray:
    """(FEATURES,), from a file of these columns' numbers."""
    found = read_array(file, "float32")
    if len(found) != len(columns):
        raise DamagedError(f"{file}: {len(found)} numbers for {len(columns)} columns")
    if not np.isfinite(found).all():
        raise DamagedError(f"{file}: its numbers are not finite")
    every = np.zeros(FEATURES, np.float32)
    every[columns] = found
    return every


@dataclass(frozen=True)
class LinearClasses:
    """A model of each class against the rest, of the n-grams in `columns` (columns,) alone:
    `weights` (columns, classes), `intercepts` (classes,), and `squares` as in Linear, (columns,
    classes) or (columns, 1) if they are the same for each class."""

    columns: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    squares: np.ndarray

    def logit(self, grams: csr_matrix) -> np.ndarray:
        """(documents, classes)"""
        grams = grams[:, self.columns]
        return grams @ self.weights / lengths(grams, self.squares) + self.intercepts
