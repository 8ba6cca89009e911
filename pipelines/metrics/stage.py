"""The metrics stage: the only reader of the test split.

Writes `metrics.json` (sums, counts and derived figures), `predictions.parquet` (one row per
document or sequence), and for language models `segments.parquet` and `samples.txt`. docs/metrics.md
explains each figure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipelines.declaration.model_sections import ModelSpec
from pipelines.metrics.classifier import ClassifierResult, evaluate_classifier
from pipelines.metrics.evaluation import Evaluation
from pipelines.metrics.language_model import LanguageModelResult, evaluate_language_model
from pipelines.mix.mixtures import read_mixture
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.keras_file import load_model
from pipelines.store.artifacts import Inputs, Workspace


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Score the test split. Returns the headline figures."""
    make_reproducible(load_keras(config["training.backend"], threads=config["training.threads"]))
    declared = json.loads((inputs["model"].path / "model.json").read_bytes())
    spec, size = ModelSpec.model_validate(declared["model"]), declared["vocabulary_size"]
    evaluation = Evaluation(
        load_model(inputs["model"].path / "model.keras"),
        spec,
        config["evaluation"],
        config["seed"],
        inputs,
        work.progress,
        read_mixture(inputs["mix"].path, spec.kind, size) if "mix" in inputs else None,
    )
    classifier = evaluation.model_spec.kind == "classifier"
    result = (evaluate_classifier if classifier else evaluate_language_model)(evaluation)
    _write(result, work.out)
    return result.metrics["headline"]


def _write(result: ClassifierResult | LanguageModelResult, out: Path) -> None:
    for name, table in result.tables.items():
        pq.write_table(table, out / name, compression="zstd")
    if isinstance(result, LanguageModelResult):
        (out / "samples.txt").write_text(result.samples, encoding="utf-8")
    text = json.dumps(result.metrics, indent=1, ensure_ascii=False)
    (out / "metrics.json").write_text(text + "\n", encoding="utf-8")
