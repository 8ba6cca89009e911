"""The columns that scoring a file adds, and their values: labels, or what each text costs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from pipelines.errors import UsageError
from pipelines.serving.answers import of_each
from pipelines.serving.package import PackageSettings
from pipelines.serving.predictor import Predictor
from pipelines.serving.text_costs import Cost, TextCosts
from pipelines.serving.text_statistics import TextStatistics, cost_score

COSTS = {
    "bits_per_character": pa.float64(),
    "tokens": pa.int64(),
    "characters": pa.float64(),
    "error": pa.string(),
}


def added_columns(settings: PackageSettings, every: bool) -> dict[str, pa.DataType]:
    """The names and types of the columns that a model adds; `every`: one for each label, too."""
    if settings.kind == "language_model":
        if every:
            raise UsageError(f"--all: {settings.pipeline} is a language model and has no labels")
        return dict(COSTS)
    columns = {"label": pa.string(), "probability": pa.float64()}
    if len(settings.labels) == 2:
        columns["positive_probability"] = pa.float64()
    columns["error"] = pa.string()
    if every:
        columns |= {f"probability_{label}": pa.float64() for label in settings.labels}
    return columns


class ScoredRows(Protocol):
    """What a model says of a file, a window of its rows at a time."""

    labels: Sequence[str]  # none of a language model
    errors: Counter[str]
    rows: int
    statistics: TextStatistics

    def add(self, texts: Sequence[Any]) -> list[list[Any]]:
        """The values of the added columns for these texts."""

    def summary(self) -> dict[str, Any]:
        """The figures over all rows so far."""


def scored_rows(predictor: Predictor, every: bool) -> ScoredRows:
    return Labels(predictor, every) if predictor.kind == "classifier" else Costs(predictor)


class Labels:
    """Of a classifier."""

    def __init__(self, predictor: Predictor, every: bool) -> None:
        self._predictor, self._every = predictor, every
        self.labels: Sequence[str] = predictor.labels
        self.rows, self.errors, self._found = 0, Counter[str](), Counter[str]()
        self.statistics = TextStatistics(predictor.vocabulary.unknown_id)

    def add(self, texts: Sequence[Any]) -> list[list[Any]]:
        answers, labels = self._predictor.judged(texts, self.statistics.see_texts), self.labels
        self.rows += len(answers)
        self.errors.update(row["error"] for row in answers if row.get("error"))
        self._found.update(row["label"] for row in answers if row["label"])
        more = ["positive_probability"] if len(labels) == 2 else []
        score = more[0] if more else "probability"
        scores = [row[score] for row in answers if row["label"]]
        self.statistics.see_scores(np.array(scores, np.float64))
        self.statistics.labels = np.array([self._found[name] for name in labels])
        names = ["label", "probability", *more, "error"]
        added = [[row.get(name) for row in answers] for name in names]
        if self._every:
            each = [of_each(row, labels) for row in answers]
            added += [[one[number] for one in each] for number in range(len(labels))]
        return added

    def summary(self) -> dict[str, Any]:
        return {
            "scored": self._found.total(),
            "labels": {name: self._found[name] for name in self.labels},
        }


class Costs:
    """Of a language model."""

    def __init__(self, predictor: Predictor) -> None:
        self._costs = TextCosts(predictor)
        self.labels: Sequence[str] = ()
        self.rows, self.errors, self._scored = 0, Counter[str](), 0
        self._sums = np.zeros(3)  # nats, tokens, characters
        self.statistics = TextStatistics(predictor.vocabulary.unknown_id)

    def add(self, texts: Sequence[Any]) -> list[list[Any]]:
        found = self._costs.of(texts, self.statistics.see_texts)
        costs = [one for one in found if isinstance(one, Cost)]
        sums = np.array([(one.nats, one.tokens, one.characters) for one in costs]).reshape(-1, 3)
        self.rows += len(found)
        self._scored += len(costs)
        self._sums += sums.sum(axis=0)
        self.errors.update(one for one in found if isinstance(one, str))
        self.statistics.see_scores(cost_score(sums[:, 0], sums[:, 1]))
        return [
            *(
                [getattr(one, name) if isinstance(one, Cost) else None for one in found]
                for name in COSTS
                if name != "error"
            ),
            [one if isinstance(one, str) else None for one in found],
        ]

    def summary(self) -> dict[str, Any]:
        """The sums, and their quotients; None if there was nothing to divide by."""
        nats, tokens, characters = self._sums.tolist()
        return {
            "scored": self._scored,
            "bits_per_character": nats / math.log(2) / characters if characters else None,
            "perplexity": math.exp(min(nats / tokens, 700)) if tokens else None,
            "sums": {"nats": nats, "tokens": int(tokens), "characters": characters},
        }
