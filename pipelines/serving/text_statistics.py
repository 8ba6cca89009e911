"""Statistics of a classifier's training text and predictions, small enough for its package.

They allow a comparison with the texts to score, wherever the package is and without the original
artifacts. `profile.json` contains, of the training text, `lengths` ([tokens before truncation,
documents]), of the validation split `unknown` (tokens unknown, known), and of the held-out
predictions `scores` (documents by probability of the second label, in SCORE_BINS). Of more than two
labels, `scores` are by probability of the predicted one, and `labels` are documents by prediction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipelines.errors import UnreadableError
from pipelines.files.small_files import read_object
from pipelines.stats.two_samples import LENGTH, of_classes, of_unknown, of_values
from pipelines.store.artifacts import Artifact
from pipelines.tokens.lengths import documents_by_length

FILE = "profile.json"
SCORE_BINS = 1000  # of equal width between 0 and 1


@dataclass
class TextStatistics:
    """Counts of some texts and of a classifier's predictions for them."""

    unknown_id: int
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))
    unknown: tuple[int, int] = (0, 0)
    scores: np.ndarray = field(default_factory=lambda: np.zeros(SCORE_BINS, np.int64))
    labels: np.ndarray | None = None

    def see_texts(self, lengths: np.ndarray, ids: list[np.ndarray]) -> None:
        """Add texts: their tokens before truncation (texts,), and the ids that are read of each."""
        self.lengths = _sum(self.lengths, np.bincount(lengths))
        flat = np.concatenate(ids) if ids else np.empty(0, np.int32)
        unknown = int((flat == self.unknown_id).sum())
        self.unknown = (self.unknown[0] + unknown, self.unknown[1] + len(flat) - unknown)

    def see_scores(self, probabilities: np.ndarray) -> None:
        """Add predictions: (texts,) probabilities of the second label, or of the predicted one."""
        self.scores = self.scores + binned(probabilities)


def write_statistics(package: Path, tokens: Artifact, metrics: Artifact, classes: int) -> None:
    """Put the statistics of a classifier into its package folder."""
    path = metrics.path / "predictions.parquet"
    if "label" not in pq.read_schema(path).names:
        return  # a language model
    lengths = documents_by_length(tokens, "train")
    validation = tokens.counts["validation"]
    score = "probability" if classes == 2 else "confidence"
    statistics = {
        "lengths": [[int(n), int(lengths[n])] for n in np.flatnonzero(lengths)],
        "unknown": [validation["unknown"], validation["tokens"] - validation["unknown"]],
        "scores": binned(pq.read_table(path, columns=[score])[score].to_numpy()).tolist(),
    }
    if classes > 2:
        predicted = pq.read_table(path, columns=["predicted"])["predicted"].to_numpy()
        statistics["labels"] = np.bincount(predicted, minlength=classes).tolist()
    (package / FILE).write_text(json.dumps(statistics) + "\n", encoding="utf-8")


def read_statistics(package: Path) -> TextStatistics | None:
    """The statistics in a package; None if an earlier version of Folio wrote none.

    Raises UnreadableError if the file has changed.
    """
    try:
        noted = read_object(package / FILE, lengths=list, unknown=list, scores=list)
        places, counts = np.array(noted["lengths"], np.int64).T
        lengths = np.bincount(places, counts).astype(np.int64)
        unknown, known = map(int, noted["unknown"])
        scores = np.array(noted["scores"], np.int64)
        labels = np.array(noted["labels"], np.int64) if "labels" in noted else None
    except FileNotFoundError:
        return None
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise _not_packed(package) from error
    if scores.shape != (SCORE_BINS,) or min(unknown, known, *scores, *counts) < 0:
        raise _not_packed(package)
    return TextStatistics(-1, lengths, (unknown, known), scores, labels)


def _not_packed(package: Path) -> UnreadableError:
    return UnreadableError(
        f"{package / FILE}: has changed since it was packed; register the model again, or "
        "use another version"
    )


def compared(
    old: TextStatistics, new: TextStatistics, labels: Sequence[str]
) -> list[dict[str, Any]]:
    """The measures, as in `drift.measures`, of a package's statistics and of new text."""
    rows = list(of_values(LENGTH, old.lengths, new.lengths))
    if rows and sum(old.unknown):  # otherwise there is too little text
        rows.append(of_unknown(old.unknown, new.unknown))
    scored = labels[1] if len(labels) == 2 else "the predicted label"
    rows += of_values(f"median probability of {scored}", old.scores, new.scores, 1 / SCORE_BINS)
    if len(labels) > 2 and old.labels is not None and new.labels is not None:
        rows += of_classes(labels, old.labels, new.labels)
    return rows


def binned(probabilities: np.ndarray) -> np.ndarray:
    """(texts,) probabilities to counts (SCORE_BINS,)."""
    places = np.minimum((probabilities * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    return np.bincount(places, minlength=SCORE_BINS)


def _sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two counts by value, of different lengths."""
    size = max(len(one), len(other))
    return np.pad(one, (0, size - len(one))) + np.pad(other, (0, size - len(other)))
