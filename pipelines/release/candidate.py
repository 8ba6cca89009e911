"""What a release registers: the packed model, its description, and its origin."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.baselines import baseline_line, mix_line
from pipelines.corpus.class_names import labels_of
from pipelines.declaration.data_sections import LABELLED_READERS, TABLE_READERS
from pipelines.declaration.spec import RegistrySpec
from pipelines.files.digests import digest_json
from pipelines.files.home import PROJECT
from pipelines.registry.figures import Figures
from pipelines.registry.lookup import PACKAGE, PACKAGE_TAG
from pipelines.registry.versions import Version
from pipelines.release.class_recall import by_class, figures_of
from pipelines.release.fair_comparison import Challenger, held_out_digest
from pipelines.release.mlflow_register import LOADER
from pipelines.release.model_card import model_card
from pipelines.serving.registered import digests_in
from pipelines.store.artifacts import Artifact, Inputs, Store
from pipelines.store.fingerprint import code_fingerprint, library_version
from pipelines.store.lineage import Graph, stored

# Imported by the loader, but in no fingerprint.
CONTRACTS = (
    "errors",
    "declaration/data_sections",
    "declaration/model_sections",
    "declaration/model_size",
    "declaration/section_base",
    "declaration/slices",
    "declaration/spec",
)
LIBRARIES = ("h5py", "keras", "numpy", "pandas", "polars", "pydantic", "sentencepiece")


@dataclass(frozen=True)
class Candidate:
    """A trained and measured model that may become champion. `folder` holds `package/` and `code/`;
    `tags` are those of its version, without the verdict."""

    inputs: Inputs
    name: str
    spec: RegistrySpec
    sample: bool
    labels: tuple[str, ...]
    metrics: Mapping[str, Any]
    above: Mapping[str, dict[str, Any]]
    folder: Path
    requirements: list[str]
    tags: dict[str, str]

    @classmethod
    def of(cls, inputs: Inputs, config: dict[str, Any], folder: Path) -> Candidate:
        """Packs the model into `folder`."""
        metrics = json.loads((inputs["metrics"].path / "metrics.json").read_bytes())
        above = lineage(inputs)
        labels = tuple(labels_of(inputs["corpus"]))
        requirements = _requirements(inputs)
        _stage(inputs, config, labels, metrics, folder)
        tags = _tags(above, config, metrics, folder, requirements)
        return cls(
            inputs,
            config["name"],
            config["registry"],
            config["sample"],
            labels,
            metrics,
            above,
            folder,
            requirements,
            tags,
        )

    @property
    def figures(self) -> dict[str, float | None]:
        return figures_of(self.metrics, self.spec.metric)

    @property
    def parameters(self) -> dict[str, Any]:
        read = (self.inputs[name] for name in ("tokens", "model", "mix") if name in self.inputs)
        return {key: value for one in read for key, value in one.manifest["config"].items()}

    @property
    def card(self) -> str:
        """The version's description, in Markdown."""
        return model_card(
            self.name, self.spec.metric, self.metrics, self.above, self.labels, self.sample
        )

    @property
    def run(self) -> str | None:
        return self.inputs["model"].manifest.get("run")

    def measured(self, withdrawn: str | None = None) -> Figures:
        return Figures(
            self.figures,
            self.sample,
            slices=self.metrics.get("slices", {}),
            baselines=self.metrics.get("baselines", {}),
            classes=by_class(self.metrics, self.labels),
            withdrawn=withdrawn,
        )

    @property
    def store(self) -> Store:
        """The store with the inputs."""
        return Store(self.inputs["metrics"].path.parent.parent, os.environ.get("FOLIO_STORE"))

    def challenger(self) -> Challenger:
        metrics, corpus, tokens = (self.inputs[name] for name in ("metrics", "corpus", "tokens"))
        return Challenger(
            metrics.path,
            corpus,
            tokens.path,
            held_out_digest(corpus.manifest),
            batch_size=self.above["batches"]["config"]["batches.batch_size"],
            labels=self.labels,
            store=self.store,
            threads=metrics.manifest["config"].get("training.threads"),
        )

    def alike(self, known: Iterable[Version]) -> set[int]:
        """The versions with exactly this package, however often it was measured."""
        return {
            version.number
            for version in known
            if version.tags.get(PACKAGE_TAG) == self.tags[PACKAGE_TAG]
        }

    def standing(self, known: Iterable[Version]) -> Version | None:
        """The version with this package and these figures, if its files still exist."""
        alike = (PACKAGE_TAG, "folio.figures", "folio.metrics.digest")
        same = [
            version
            for version in known
            if all(version.tags.get(key) == self.tags[key] for key in alike)
            and (version.folder is None or version.folder.is_dir())
        ]
        return same[-1] if same else None


def lineage(inputs: Inputs) -> dict[str, dict[str, Any]]:
    """{stage: manifest} of the inputs and of every earlier stage."""
    graph = Graph(stored(Store(inputs["model"].path.parent.parent)))
    above = {one.stage: one.manifest for one in graph.above(inputs.values())}
    return above | {name: artifact.manifest for name, artifact in inputs.items()}


def _requirements(inputs: Inputs) -> list[str]:
    libraries = {*LIBRARIES, inputs["model"].manifest["config"]["training.backend"]}
    if "mix" in inputs and inputs["mix"].manifest["config"]["mix"] == "nb-svm":
        libraries |= {"scikit-learn", "scipy"}
    return [f"{name}=={library_version(name)}" for name in sorted(libraries)]


def _stage(
    inputs: Inputs,
    config: dict[str, Any],
    labels: tuple[str, ...],
    metrics: Mapping[str, Any],
    folder: Path,
) -> None:
    """`package/`, and in `code/` the modules that read it, so that it works without Folio."""
    from pipelines.serving.package import seal, write_package
    from pipelines.serving.text_statistics import write_statistics

    shutil.rmtree(folder, ignore_errors=True)
    write_package(
        folder / PACKAGE,
        inputs["model"],
        inputs["tokens"],
        inputs.get("mix"),
        pipeline=config["name"],
        labels=labels,
        sample=config["sample"],
        measured=metrics,
        texts=_reading(inputs["corpus"]),
    )
    layout = metrics.get("layout")
    write_statistics(folder / PACKAGE, inputs["tokens"], inputs["metrics"], len(labels), layout)
    seal(folder / PACKAGE)
    modules = {f"pipelines/{name}.py" for name in CONTRACTS} | set(code_fingerprint(LOADER))
    packages = {f"{folder}/__init__.py" for name in modules for folder in Path(name).parents[:-1]}
    for name in sorted(modules | packages):
        (folder / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, folder / "code" / name)


def _reading(corpus: Artifact) -> dict[str, Any]:
    """How the corpus was read, for `write_package`."""
    config = corpus.manifest["config"]
    reader = config.get("corpus.reader")
    return {
        "normal_form": corpus.counts.get("normal_form"),
        "html_breaks": reader in LABELLED_READERS,
        "text_column": config.get("corpus.text_column") if reader in TABLE_READERS else None,
    }


def _tags(
    above: Mapping[str, dict[str, Any]],
    config: dict[str, Any],
    metrics: Mapping[str, Any],
    folder: Path,
    requirements: list[str],
) -> dict[str, str]:
    """The tags of a version: figures, origin, and the earlier stages."""
    files = digests_in(folder)
    origin = above["model"]
    tags = {
        "figures": json.dumps(figures_of(metrics, config["registry"].metric)),
        "metric": config["registry"].metric,
        "package": digest_json([files, requirements]),
        "files": digest_json(files),
        "test.digest": held_out_digest(above["corpus"]),
        "sample": json.dumps(config["sample"]),
    }
    lines = {"baseline": baseline_line(metrics), "mix": mix_line(metrics)}
    tags |= {key: line for key, line in lines.items() if line}
    tags |= {
        key: str(origin[key])
        for key in ("profile", "run", "git_commit", "seed")
        if origin.get(key) is not None
    }
    for stage, manifest in sorted(above.items()):
        tags |= {f"{stage}.key": manifest["key"], f"{stage}.digest": manifest["digest"]}
    return {f"folio.{key}": value for key, value in tags.items()}
