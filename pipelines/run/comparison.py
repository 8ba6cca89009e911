"""Variants of one pipeline in one table and plot, each trained with one or several seeds.

Variants are ranked by validation; only the best one is then measured on the test split.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.declaration.spec import Spec
from pipelines.errors import UsageError
from pipelines.files.digests import digest_json
from pipelines.files.home import made
from pipelines.run.grid import MOST_VARIANTS, Grid, Variant, label, overrides, variants
from pipelines.run.validation import measured, validation_figure
from pipelines.store.artifacts import Artifact, Store
from pipelines.tracking.nested import Tried

VALIDATION, TEST = "validation", "test"
TEST_STAGE = "metrics"  # the stage that reads the test split
BEFORE_TEST = "mix"  # the last one before it
Row = dict[str, Any]


@dataclass(frozen=True)
class Comparison:
    """What is compared. `split` ranks the variants; the test split is read for the best one, or for
    all if it is the one that ranks."""

    spec: Spec
    tried: list[Variant]
    seeds: tuple[int, ...]
    split: str

    @classmethod
    def of(cls, spec: Spec, grid: Grid, seeds: int, split: str) -> Comparison:
        """With `seeds` seeds each, from the declared one on. Raises UsageError if it makes no
        sense."""
        if split not in (VALIDATION, TEST):
            raise UsageError(f"--on {split}: give {VALIDATION} or {TEST}")
        for key in grid:
            if split == VALIDATION and key.partition(".")[0] in ("evaluation", "registry"):
                raise UsageError(f"--grid {key} changes no figure of validation; add --on test")
            if key in ("seed", "training.seed") and seeds > 1:
                raise UsageError("--seeds: the grid has a seed; give one of the two")
        tried = variants(grid)
        if len(tried) * seeds > MOST_VARIANTS:
            raise UsageError(f"{len(tried) * seeds:,} trainings: the limit is {MOST_VARIANTS}")
        first = spec.seed if spec.training.seed is None else spec.training.seed
        return cls(spec, tried, tuple(range(first, first + seeds)), split)

    @property
    def measure(self) -> str:
        """The figure that ranks."""
        metric = self.spec.registry.metric
        return metric if self.split == TEST else measured(metric)

    @property
    def until(self) -> str:
        return TEST_STAGE if self.split == TEST else BEFORE_TEST

    def overrides(self, variant: Variant) -> list[tuple[str, ...]]:
        """Those of each training of a variant."""
        seeds = [f"training.seed={seed}" for seed in self.seeds] if len(self.seeds) > 1 else [None]
        return [(*overrides(variant), *filter(None, [seed])) for seed in seeds]

    def row(self, variant: Variant, records: list[dict[str, Any]], store: Store) -> Row:
        """The table row of one variant, from the records of its trainings: its figures on each
        split, {} where it was not measured, and each training."""
        trainings = [training(record, store) for record in records]
        error = next((record["error"] for record in records if record["error"]), None)
        validation, test, metric = {}, {}, self.spec.registry.metric
        if error is None:
            figures = [validation_figure(record, store, metric) for record in records]
            validation = {measured(metric): spread(figures)}
            for name in records[0]["metrics"]:
                test[name] = spread([record["metrics"][name] for record in records])
        return {
            "variant": variant,
            "error": error,
            VALIDATION: validation,
            TEST: test,
            "parameters": trainings[0]["parameters"],
            "trainings": trainings,
        }

    def tried_as(self, row: Row) -> Tried:
        """A row as MLflow shows it: with the figure on validation, whatever ranks."""
        measure = measured(self.spec.registry.metric)
        return Tried(
            label(row["variant"]),
            row["variant"],
            tuple(one["run"] for one in row["trainings"]),
            f"validation_{measure}",
            row[VALIDATION][measure]["mean"] if row["error"] is None else None,
            row["error"],
        )

    def best_first(self, rows: list[Row]) -> list[Row]:
        """Rows by the mean of their figure, failed ones last."""
        sign = 1 if self.measure in LOWER_IS_BETTER else -1
        done = [row for row in rows if row["error"] is None]
        done.sort(key=lambda row: sign * row[self.split][self.measure]["mean"])
        return done + [row for row in rows if row["error"] is not None]

    def as_json(self, rows: list[Row]) -> dict[str, Any]:
        return {
            "pipeline": self.spec.name,
            "profile": self.spec.profile,
            "metric": self.spec.registry.metric,
            "split": self.split,
            "measure": self.measure,
            "seeds": list(self.seeds),
            "same_text": self._is_same_text(rows),
            "rows": rows,
        }

    def _is_same_text(self, rows: list[Row]) -> bool:
        texts = {one[self.split] for row in rows for one in row["trainings"]}
        return len(texts - {None}) <= 1  # None: it failed before

    def write(self, folder: Path, rows: list[Row]) -> None:
        """`comparison.json`, and `comparison.png` with the figure of each variant."""
        from pipelines.report.plots.comparison import comparison_png

        made(folder)
        text = json.dumps(self.as_json(rows), indent=1)
        (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
        if done := [row for row in rows if row["error"] is None]:
            figures = [row[self.split][self.measure] for row in done]
            plot = comparison_png(
                [label(row["variant"]) for row in done],
                [figure["mean"] for figure in figures],
                [(figure["min"], figure["max"]) for figure in figures],
                f"{self.measure.replace('_', ' ')} on {self.split}",
            )
            (folder / "comparison.png").write_bytes(plot)


def training(record: dict[str, Any], store: Store) -> Row:
    """A run and what its model artifact says of the training."""
    keys = {entry["stage"]: entry["key"] for entry in record["stages"]}
    model = store.find("model", keys.get("model") or "")
    corpus = store.find("corpus", keys.get("corpus") or "")
    counts = model.counts if model else {}
    seconds = counts.get("epoch_seconds") or []
    return {
        "run": record["run"],
        VALIDATION: corpus and _text_of(corpus, VALIDATION),
        TEST: corpus and _text_of(corpus, TEST),
        "parameters": counts.get("parameters"),
        "epochs": counts.get("epochs"),
        "best_epoch": counts.get("best_epoch"),
        "seconds_per_epoch": sorted(seconds)[len(seconds) // 2] if seconds else None,
    }


def _text_of(corpus: Artifact, split: str) -> str:
    """A digest of the documents of a split."""
    files = corpus.manifest["files"]
    prefix = f"documents/{split}-"
    return digest_json([files[name]["sha256"] for name in sorted(files) if name.startswith(prefix)])


def spread(values: list[float]) -> dict[str, Any]:
    """Mean and spread of a figure over the seeds; the sample standard deviation, or None for one
    value."""
    return {
        "values": values,
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "min": min(values),
        "max": max(values),
    }
