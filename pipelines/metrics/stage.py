"""The metrics stage: the only reader of the test split.

Writes `metrics.json` (sums, counts and what follows from them), `predictions.parquet` (a row a
document or sequence), for language models `segments.parquet` and `samples.txt`, plots and
`report.html`. What each figure means is in docs/metrics.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batches.dataset import Split
from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.spec import EvaluationSpec
from pipelines.metrics.classifier import calibration_figures, classifier_metrics, predictions_table
from pipelines.metrics.language_model import HeldOut, figures, language_metrics
from pipelines.metrics.ngrams import Sequences, baselines
from pipelines.metrics.samples import Writer
from pipelines.metrics.segments import SEGMENTS, Segments
from pipelines.metrics.slices import overall_intervals, text_slices
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.keras_file import load_model
from pipelines.model.sampling import sample
from pipelines.model.scoring import Scored, Scorer
from pipelines.report.model_report import write_report
from pipelines.stats.calibration import Calibration
from pipelines.store.artifacts import Inputs, Workspace
from pipelines.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    import keras


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Score the test split. Returns the headline figures."""
    spec: EvaluationSpec = config["evaluation"]
    keras = load_keras(config["training.backend"])
    make_reproducible(keras)
    model = load_model(inputs["model"].path / "model.keras")
    declared = json.loads((inputs["model"].path / "model.json").read_bytes())
    model_spec = ModelSpec.model_validate(declared["model"])
    scorer, test = Scorer(model, model_spec), Split(inputs["batches"], "test")
    scored = _watched(scorer.batches(test, ids=True), test, work)
    if model_spec.kind == "classifier":
        calibration = _calibrated(scorer, Split(inputs["batches"], "validation"), spec, work)
        predictions = predictions_table(scored, test.metadata["unknown_id"], calibration)
        metrics = classifier_metrics(predictions, spec.slices)
        metrics["calibration"] = calibration_figures(predictions, calibration)
    else:
        vocabulary = Vocabulary.load(inputs["tokens"].path / "vocabulary")
        segments = Segments.of(
            inputs["corpus"],
            inputs["tokens"],
            vocabulary,
            inputs["tokens"].manifest["config"]["tokens.keep"],
            positions=test.layout != "documents",
        )
        held_out = HeldOut.collect(segments.watch(scored), test.carries_state)
        predictions = held_out.rows
        metrics = _language_model(held_out, test, inputs, spec, work)
        metrics |= _by_segment(segments.table(), inputs, spec, work)
        metrics |= _written(model, model_spec, test, inputs, spec, config["seed"], work)
        _write_samples(metrics["samples"], work.out / "samples.txt")
    pq.write_table(predictions, work.out / "predictions.parquet", compression="zstd")
    text = json.dumps(metrics, indent=1, ensure_ascii=False)
    (work.out / "metrics.json").write_text(text + "\n", encoding="utf-8")
    write_report(work.out, metrics, inputs, predictions)
    return metrics["headline"]


def _watched(scored: Iterable[Scored], split: Split, work: Workspace) -> Iterator[Scored]:
    for done, one in enumerate(scored, 1):
        work.progress(done, split.batch_count, f"{split.metadata['split']} batches scored")
        yield one


def _calibrated(
    scorer: Scorer, validation: Split, spec: EvaluationSpec, work: Workspace
) -> Calibration:
    scaled = spec.calibration == "temperature"
    if not scaled and spec.threshold != "best":
        return Calibration(threshold=spec.threshold)
    scored = list(_watched(scorer.batches(validation), validation, work))
    logit, label = (
        np.concatenate(parts)
        for parts in ([one.logit for one in scored], [one.batch.outcome for one in scored])
    )
    return Calibration.fitted(logit, label, scaled, spec.threshold)


def _language_model(
    held_out: HeldOut, test: Split, inputs: Inputs, spec: EvaluationSpec, work: Workspace
) -> dict[str, Any]:
    """The model's figures, and what counting n-grams reaches on the same tokens."""
    characters = inputs["batches"].counts["test"]["characters"]
    metrics = language_metrics(held_out, characters, test.metadata["unknown_id"])
    work.progress(0, None, "n-grams counted")
    joined = test.layout in ("rows", "lanes")
    train = Sequences.of_train(inputs["tokens"], joined)
    left_out = inputs["tokens"].counts["train"]["tokens"] - len(train.ids)
    counted = baselines(
        train,
        held_out.text,
        held_out.predicted,
        spec.baseline_order,
        test.metadata["vocabulary_size"],
    )
    metrics["baselines"] = {
        name: figures(sums, characters)
        | sums
        | {"train_tokens": len(train.ids), "train_tokens_left_out": left_out}
        for name, sums in counted.items()
    }
    return metrics


def _by_segment(
    segments: pa.Table, inputs: Inputs, spec: EvaluationSpec, work: Workspace
) -> dict[str, Any]:
    pq.write_table(segments, work.out / SEGMENTS, compression="zstd")
    work.progress(0, None, "segments drawn anew")
    return {
        "intervals": overall_intervals(segments),
        "slices": text_slices(segments, inputs["corpus"], spec.slices),
    }


def _written(
    model: keras.Model,
    model_spec: ModelSpec,
    test: Split,
    inputs: Inputs,
    spec: EvaluationSpec,
    seed: int,
    work: Workspace,
) -> dict[str, Any]:
    """Samples to read, and figures of more text that the model wrote."""
    vocabulary = Vocabulary.load(inputs["tokens"].path / "vocabulary")

    window = max(test.buckets) if test.layout == "windows" else None
    context = window or spec.context

    def draw(start: np.ndarray, temperatures: np.ndarray, length: int, seed: int) -> np.ndarray:
        return sample(
            model,
            model_spec,
            start,
            len(temperatures),
            length,
            temperatures,
            seed,
            never=vocabulary.never_drawn,
            context=context,
        )

    work.progress(0, None, "samples drawn")
    writer = Writer(draw, vocabulary, spec, test.layout == "documents")
    return {
        "layout": test.layout,
        "window": window,
        "context": context,
        "samples": writer.samples(seed),
        "generated": writer.figures(inputs["corpus"], seed),
    }


def _write_samples(samples: list[dict[str, Any]], path: Path) -> None:
    blocks = [
        f"--- temperature {one['temperature']}, seed {one['seed']}\n{one['start']}{one['text']}\n"
        for one in samples
    ]
    path.write_text("\n".join(blocks), encoding="utf-8")
