"""The stages: their inputs, their part of the declaration and their code."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pipelines.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Stage:
    """`config` lists everything of the declaration that the stage may read; only that is in the
    key."""

    name: str
    module: str
    inputs: tuple[str, ...]
    config: tuple[str, ...]
    libraries: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # files read by the code and part of it, such as templates
    optional: tuple[str, ...] = ()  # optional inputs, which a run may not have
    own_code: str | None = None  # the key that names a function of the user's own, if declared
    when: str | None = None  # only pipelines that declare this key have the stage
    upstream: bool = False  # its inputs are those of another pipeline's version
    shared: bool = True  # published to FOLIO_STORE; False: it belongs to this home only
    unfinished: tuple[str, ...] = ()  # partial work that FOLIO_STORE gets too; the last first
    version: int = 1  # increase it when the meaning of the files changes without a code change here

    def reads(self, stages: Container[str]) -> tuple[str, ...]:
        """Its inputs in a run that has only `stages`."""
        return tuple(name for name in self.inputs if name in stages or name not in self.optional)

    @property
    def build(self) -> Callable[..., dict[str, Any]]:
        """`build(inputs, config, work) -> counts`. Imported only when it runs."""
        return import_module(self.module).build


REPORT_TEMPLATES = (
    "report.html",
    "style.css",
    "classes.html",
    "verdict.html",
    "drift.html",
    "cost.html",
)
STAGES = (
    Stage("source", "pipelines.source.stage", (), ("source",)),
    Stage(
        "corpus",
        "pipelines.corpus.stage",
        ("source",),
        ("corpus", "seed", "code_folder"),
        ("pyarrow", "polars", "numpy"),
        own_code="corpus.transform",
    ),
    Stage(
        "start",
        "pipelines.start.stage",
        ("model", "tokens"),
        ("model.start_from",),
        when="model.start_from",
        upstream=True,
    ),
    Stage(
        "tokens",
        "pipelines.tokens.stage",
        ("corpus", "start"),
        ("tokens",),
        ("pyarrow", "polars", "sentencepiece"),
        optional=("start",),
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
        ("batches", "start"),
        ("model", "training", "seed", "code_folder"),
        ("keras", "numpy", "backend"),
        own_code="model.builder",
        optional=("start",),
        unfinished=("checkpoint.npz", "best-*.npz"),
    ),
    Stage(
        "mix",
        "pipelines.mix.stage",
        ("model", "batches", "tokens", "corpus"),
        ("mix", "evaluation.baseline_order", "training.backend", "training.threads", "seed"),
        ("keras", "numpy", "pyarrow", "backend", "scipy", "scikit-learn"),
        when="mix",
    ),
    Stage(
        "metrics",
        "pipelines.metrics.stage",
        ("model", "batches", "tokens", "corpus", "mix"),
        ("evaluation", "model.kind", "training.backend", "training.threads", "seed"),
        ("keras", "numpy", "pyarrow", "polars", "backend", "scipy", "scikit-learn"),
        optional=("mix",),
    ),
    Stage(
        "release",
        "pipelines.release.stage",
        ("model", "metrics", "tokens", "corpus", "mix"),
        ("registry", "name", "sample", "corpus.labels"),
        ("keras", "mlflow", "numpy", "scipy", "scikit-learn"),
        optional=("mix",),
        shared=False,
    ),
    Stage(
        "report",
        "pipelines.report.stage",
        ("corpus", "tokens", "batches", "model", "mix", "metrics", "release"),
        (),
        ("jinja2", "matplotlib", "numpy", "pyarrow", "scipy", "scikit-learn"),
        tuple(f"pipelines/report/templates/{name}" for name in REPORT_TEMPLATES),
        optional=("mix", "release"),
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
    """The stage with this name, or whose task has this name (train is model)."""
    wanted = VERBS.get(name, name)
    for stage in STAGES:
        if stage.name == wanted:
            return stage
    near = did_you_mean(name, (*NAMES, *VERBS))
    raise UsageError(f"unknown stage {name!r}{near}; known: {', '.join(NAMES)}")
