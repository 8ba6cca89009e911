"""The seven stages: what each reads, what of the declaration it sees, what code makes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pipelines.errors import UsageError


@dataclass(frozen=True)
class Stage:
    """`config` lists all that the stage may read of the declaration; the key holds just that."""

    name: str
    module: str
    inputs: tuple[str, ...]
    config: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # read by the code and part of it: templates
    shared: bool = True  # published where FOLIO_STORE says; False: it tells of this home alone
    version: int = 1  # raise it when the meaning of the files changes though no code here does

    @property
    def build(self) -> Callable[..., dict[str, Any]]:
        """`build(inputs, config, work) -> counts`. Imported only when it is to run."""
        return import_module(self.module).build


STAGES = (
    Stage("source", "pipelines.source.stage", (), ("source",)),
    Stage(
        "corpus",
        "pipelines.corpus.stage",
        ("source",),
        ("corpus", "seed"),
        ("pyarrow", "polars", "numpy"),
    ),
    Stage(
        "tokens",
        "pipelines.tokens.stage",
        ("corpus",),
        ("tokens",),
        ("pyarrow", "polars", "sentencepiece"),
    ),
    Stage(
        "batches",
        "pipelines.batches.stage",
        ("tokens",),
        ("batches", "model.kind", "model.stateful", "seed"),
        ("pyarrow", "numpy"),
    ),
    Stage(
        "model",
        "pipelines.model.stage",
        ("batches",),
        ("model", "training", "seed"),
        ("keras", "numpy", "backend"),
    ),
    Stage(
        "metrics",
        "pipelines.metrics.stage",
        ("model", "batches", "tokens", "corpus"),
        ("evaluation", "model.kind", "training.backend", "seed"),
        (
            "keras",
            "numpy",
            "pyarrow",
            "polars",
            "backend",
            "matplotlib",
            "jinja2",
            "scipy",
            "scikit-learn",
        ),
        ("pipelines/report/templates/report.html", "pipelines/report/templates/style.css"),
    ),
    Stage(
        "release",
        "pipelines.release.stage",
        ("model", "metrics", "tokens", "corpus"),
        ("registry", "name", "sample", "corpus.labels"),
        ("keras", "mlflow", "numpy", "jinja2", "scipy", "scikit-learn"),
        (
            "pipelines/report/templates/verdict.html",
            "pipelines/report/templates/drift.html",
            "pipelines/report/templates/cost.html",
            "pipelines/report/templates/again.html",
        ),
        shared=False,
    ),
)
NAMES = tuple(stage.name for stage in STAGES)
VERBS = {
    "download": "source",
    "tokenize": "tokens",
    "train": "model",
    "evaluate": "metrics",
    "register": "release",
}


def stage_named(name: str) -> Stage:
    """The stage, by its name or by what its task is called (train is model)."""
    wanted = VERBS.get(name, name)
    for stage in STAGES:
        if stage.name == wanted:
            return stage
    raise UsageError(f"unknown stage {name!r}; known: {', '.join(NAMES)}")
