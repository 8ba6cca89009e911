"""The model stage: trains epoch by epoch; a kill costs at most `checkpoint_every`.

Writes `model.keras` (the weights of the epoch that validation prefers, in plain Keras layers),
`model.json` (its declaration) and `history.parquet` (one row per epoch). The test split is never
opened here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.batches.dataset import Split
from pipelines.declaration.data_sections import UNLABELLED
from pipelines.declaration.label_checks import FOR_TWO_LABELS
from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.training_section import TrainingSpec
from pipelines.errors import FolioError
from pipelines.model.backend import (
    divide_cpu,
    load_keras,
    make_reproducible,
    shared_among,
    training_device,
)
from pipelines.model.keras_file import load_model, save_model
from pipelines.model.network import build_model
from pipelines.model.own.builder import OwnNetworks
from pipelines.model.trainer import Trainer
from pipelines.store.artifacts import Inputs, Workspace
from pipelines.store.own_code import OwnFunction


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Train on the batches artifact. Returns parameters, epochs, best epoch and timings."""
    spec: ModelSpec = config["model"]
    train = Split(inputs["batches"], "train")
    validation = Split(inputs["batches"], "validation")
    _check_classes(train.classes, config["training"])
    has_more = inputs["batches"].files(f"batches/{UNLABELLED}/")
    unlabelled = Split(inputs["batches"], UNLABELLED) if has_more else None
    training: TrainingSpec = config["training"]
    keras = load_keras(training.backend, threads=training.threads)
    divide_cpu(training.devices)
    device = training_device(training.backend, work.gpu, lambda text: work.progress(0, None, text))
    make_reproducible(keras)
    build = build_model
    if spec.builder:
        own = OwnFunction("model.builder", spec.builder, Path(config["code_folder"]))
        build = OwnNetworks(own, work.scratch)
    with shared_among(training.devices):
        start = load_model(inputs["start"].path / "model.keras") if "start" in inputs else None
        trainer = Trainer(
            spec, training, config["seed"], train, validation, work, start, unlabelled, build
        )
        trainer.run()
        model = trainer.best_model()
        save_model(model, work.out / "model.keras")
    declared = {
        "model": spec.model_dump(mode="json"),
        "vocabulary_size": train.metadata["vocabulary_size"],
        "vocabulary_digest": train.metadata["vocabulary_digest"],
        **({"classes": train.classes} if train.classes > 2 else {}),
    }
    (work.out / "model.json").write_text(json.dumps(declared, indent=1) + "\n")
    _write_history(trainer.position.history, work.out / "history.parquet")
    return trainer.counts() | {"parameters": model.count_params(), "device": device}


def _check_classes(classes: int, training: TrainingSpec) -> None:
    """Raises FolioError for what is only for two, if the declaration does not say how many."""
    adversarial = training.adversarial
    if classes > 2 and adversarial and adversarial.kind == "virtual":
        key = "training.adversarial.kind"
        raise FolioError(f"{key}: {FOR_TWO_LABELS[key]}")


def _write_history(history: list[dict[str, float]], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(history), path)
