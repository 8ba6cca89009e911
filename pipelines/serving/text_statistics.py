"""Statistics of a model's training text and predictions, small enough for its package.

They allow a comparison with the texts to score, wherever the package is and without the original
artifacts. `profile.json` contains, of the training text, `lengths` ([tokens before truncation,
documents]; none of running text), of the validation split `unknown` (tokens unknown, known), and of
the held-out predictions `scores` (documents by score, in SCORE_BINS). A score is the probability of
the second label. Of more than two labels it is that of the predicted one, and `labels` are
documents by prediction. Of a language model it is `cost_score`, if each document was read on its
own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from pipelines.errors import UnreadableError
from pipelines.files.small_files import read_object
from pipelines.stats.two_samples import FEWEST, LENGTH, of_classes, of_unknown, of_values
from pipelines.store.artifacts import Artifact
from pipelines.tokens.lengths import documents_by_length

FILE = "profile.json"
SCORE_BINS = 1000  # of equal width between 0 and 1
MOST_BITS = 32  # of a token, in `cost_score`


@dataclass
class TextStatistics:
    """Counts of some texts and of a model's predictions for them."""

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

    def see_scores(self, scores: np.ndarray) -> None:
        """Add predictions: (texts,) scores between 0 and 1."""
        self.scores = self.scores + binned(scores)


def write_statistics(
    package: Path, tokens: Artifact, metrics: Artifact, classes: int, layout: str | None
) -> None:
    """Put the statistics of a model into its package folder. `layout` is that in which a language
    model read the test split."""
    path = metrics.path / "predictions.parquet"
    language_model = "label" not in pq.read_schema(path).names
    statistics = _of_text(tokens, layout != "lanes") | (
        {"scores": _costs(path, layout).tolist()} if language_model else _of_labels(path, classes)
    )
    (package / FILE).write_text(json.dumps(statistics) + "\n", encoding="utf-8")


def _of_text(tokens: Artifact, documents: bool) -> dict[str, Any]:
    """`documents`: their lengths mean something."""
    lengths = documents_by_length(tokens, "train") if documents else np.zeros(1, np.int64)
    validation = tokens.counts["validation"]
    return {
        "lengths": [[int(n), int(lengths[n])] for n in np.flatnonzero(lengths)],
        "unknown": [validation["unknown"], validation["tokens"] - validation["unknown"]],
    }


def _of_labels(predictions: Path, classes: int) -> dict[str, Any]:
    score = "probability" if classes == 2 else "confidence"
    scores = pq.read_table(predictions, columns=[score])[score].to_numpy()
    found: dict[str, Any] = {"scores": binned(scores).tolist()}
    if classes > 2:
        predicted = pq.read_table(predictions, columns=["predicted"])["predicted"].to_numpy()
        found["labels"] = np.bincount(predicted, minlength=classes).tolist()
    return found


def _costs(predictions: Path, layout: str | None) -> np.ndarray:
    """Documents by `cost_score`; none if the rows are no documents."""
    if layout != "documents":
        return np.zeros(SCORE_BINS, np.int64)
    rows = pq.read_table(predictions, columns=["nats", "tokens"])
    return binned(cost_score(rows["nats"].to_numpy(), rows["tokens"].to_numpy()))


def cost_score(nats: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """(texts,): bits per predicted token, as a share of MOST_BITS."""
    return nats / math.log(2) / np.maximum(tokens, 1) / MOST_BITS


def read_statistics(package: Path) -> TextStatistics | None:
    """The statistics in a package; None if an earlier version of Folio wrote none.

    Raises UnreadableError if the file has changed.
    """
    try:
        noted = read_object(package / FILE, lengths=list, unknown=list, scores=list)
        places, counts = np.array(noted["lengths"] or np.empty((0, 2)), np.int64).T
        lengths = np.bincount(places, counts, 1).astype(np.int64)
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
    """The measures, as in `drift.measures`, of a package's statistics and of new text; `labels` are
    those of a classifier."""
    rows = list(of_values(LENGTH, old.lengths, new.lengths))
    if new.lengths.sum() >= FEWEST and sum(old.unknown):
        rows.append(of_unknown(old.unknown, new.unknown))
    name, unit = _score_of(labels)
    rows += of_values(f"median {name}", old.scores, new.scores, unit / SCORE_BINS)
    if len(labels) > 2 and old.labels is not None and new.labels is not None:
        rows += of_classes(labels, old.labels, new.labels)
    return rows


def _score_of(labels: Sequence[str]) -> tuple[str, float]:
    """What a score is called, and what 1 stands for."""
    if not labels:
        return "bits per token", MOST_BITS
    return f"probability of {labels[1] if len(labels) == 2 else 'the predicted label'}", 1


def binned(scores: np.ndarray) -> np.ndarray:
    """(texts,) scores to counts (SCORE_BINS,)."""
    places = np.minimum((scores * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    return np.bincount(places, minlength=SCORE_BINS)


def _sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two counts by value, of different lengths."""
    size = max(len(one), len(other))
    return np.pad(one, (0, size - len(one))) + np.pad(other, (0, size - len(other)))
