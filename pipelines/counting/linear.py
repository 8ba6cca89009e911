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
    """A fitted model. With `squares`, documents are scaled to length 1, as in tf-idf."""

    weights: np.ndarray
    intercept: float
    squares: np.ndarray | None = None

    def logit(self, grams: csr_matrix) -> np.ndarray:
        """(documents,): of class 1."""
        found = grams @ self.weights
        if self.squares is not None:
            found /= np.sqrt(np.maximum(grams @ self.squares, 1e-12))
        return found + self.intercept

    def write(self, folder: Path) -> None:
        """The weights of the n-grams that were seen in training, as float32; without `squares`."""
        columns = np.flatnonzero(self.weights)
        np.save(folder / "columns.npy", columns.astype(np.int32))
        np.save(folder / "weights.npy", self.weights[columns].astype(np.float32))

    @classmethod
    def read(cls, folder: Path, intercept: float) -> Linear:
        """What `write` wrote. Raises DamagedError if it is anything else."""
        columns = read_array(folder / "columns.npy", "int32")
        weights = read_array(folder / "weights.npy", "float32")
        ascending = bool((np.diff(columns) > 0).all())
        within = not len(columns) or (columns[0] >= 0 and columns[-1] < FEATURES)
        if not (ascending and within and len(columns) == len(weights)):
            raise DamagedError(f"{folder}: its columns and weights do not belong together")
        if not np.isfinite(weights).all():
            raise DamagedError(f"{folder}: its weights are not finite")
        every = np.zeros(FEATURES, np.float32)
        every[columns] = weights
        return cls(every, intercept)


@dataclass(frozen=True)
class LinearClasses:
    """A model of each class against the rest, of the n-grams in `columns` (columns,) alone:
    `weights` (columns, classes), `intercepts` (classes,), and `squares` (columns,) as in Linear."""

    columns: np.ndarray
    weights: np.ndarray
    intercepts: np.ndarray
    squares: np.ndarray | None = None

    @classmethod
    def of(cls, columns: np.ndarray, models: Sequence[Linear]) -> LinearClasses:
        """From models of these columns, one for each class."""
        weights = np.stack([one.weights.astype(np.float32) for one in models], axis=1)
        intercepts = np.array([one.intercept for one in models])
        squares = (one.squares for one in models if one.squares is not None)
        return cls(columns, weights, intercepts, next(squares, None))

    def logit(self, grams: csr_matrix) -> np.ndarray:
        """(documents, classes)"""
        grams = grams[:, self.columns]
        found = grams @ self.weights
        if self.squares is not None:
            found /= np.sqrt(np.maximum(grams @ self.squares, 1e-12))[:, None]
        return found + self.intercepts
