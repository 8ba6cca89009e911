"""The artifacts that the comparisons read, made by Folio's own stages and kept between runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness import Conditions, apart
from pipelines.batches.dataset import Batch, Split
from pipelines.declaration.load import load_spec
from pipelines.declaration.spec import Spec
from pipelines.files.home import PROJECT
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.artifacts import Artifact, Workspace
from pipelines.store.manifest import read
from pipelines.store.settings import Settings

SAMPLES = PROJECT / "data" / "samples"
Declared = tuple[str, str, tuple[str, ...]]  # pipeline, profile, overrides


def imdb(conditions: Conditions, *overrides: str) -> Declared:
    """The book's split of IMDb, no review truncated."""
    if conditions.quick:
        return _sample("imdb", "reviews.csv", ("tokens.max_tokens=null", *overrides))
    return "imdb", "book", ("tokens.max_tokens=null", *overrides)


def characters(conditions: Conditions, *overrides: str) -> Declared:
    """Shakespeare's characters, 100 per row, 64 rows per batch."""
    if conditions.quick:
        return _sample("shakespeare", "play.txt", ("batches.batch_size=64", *overrides))
    return "shakespeare", "full", overrides


def paragraphs(conditions: Conditions) -> Declared:
    """Paragraphs of Japanese Wikipedia in 8,000 subwords, one per row, 64 rows per batch."""
    lines = Path(conditions.mirror or ".") / "jawiki_sample.txt"
    if conditions.quick or not lines.is_file():
        return _sample("jawiki", "jawiki.txt", ("batches.batch_size=64",))
    return "jawiki", "notebook+lines", (f"source.path={lines}",)


def _sample(pipeline: str, file: str, overrides: tuple[str, ...]) -> Declared:
    return pipeline, "sample", (f"source.path={SAMPLES / file}", *overrides)


def made(conditions: Conditions, declared: Declared, until: str = "batches") -> dict[str, Path]:
    """The folder of each stage's artifact, up to `until`; reused if it exists."""
    return apart(_made, conditions, declared, until)


def _made(conditions: Conditions, declared: Declared, until: str) -> dict[str, Path]:
    settings = Settings.at(conditions.home, mirror=conditions.mirror)
    record = retrain_plain(
        *declared, settings=settings, selection=Selection.of(until=until), notice=quiet
    )
    return {entry["stage"]: Path(entry["path"]) for entry in record["stages"]}


def artifact(folder: Path) -> Artifact:
    """The artifact in a folder from `made`."""
    return Artifact(folder.parent.name, folder.name, folder, read(folder))


def quiet(text: str) -> None:
    """A Notice that prints nothing."""


def texts(corpus: Path, split: str, most: int | None = None) -> tuple[list[str], list[int]]:
    """The split's texts and labels, in the order of the files."""
    import pyarrow.parquet as pq

    table = pq.read_table(
        sorted((corpus / "documents").glob(f"{split}-*.parquet")), columns=["text", "label"]
    ).slice(0, most)
    return table["text"].to_pylist(), [int(label) for label in table["label"].to_pylist()]


class Training:
    """The training stage's own loop on a batches artifact, called batch by batch."""

    def __init__(self, declared: Declared, batches: Path) -> None:
        from pipelines.model.backend import load_keras, make_reproducible

        self.spec: Spec = load_spec(*declared)
        self.split = Split(artifact(batches), "train")
        make_reproducible(load_keras(self.spec.training.backend))
        from pipelines.model.trainer import Trainer

        self._folder = tempfile.TemporaryDirectory()
        place = Path(self._folder.name)
        self.trainer = Trainer(
            self.spec.model,
            self.spec.training,
            self.spec.seed,
            self.split,
            Split(artifact(batches), "validation"),
            Workspace(place, place, place),
        )

    def step(self, batch: Batch) -> None:
        """One batch, trained as in an epoch: in parts where the gradient is truncated."""
        self.trainer.step(batch)


def epoch_batches(split: Split) -> tuple[list[Batch], np.ndarray]:
    """All batches of the first epoch, and their slots."""
    found = list(split.epoch(0))
    return found, np.array([batch.tokens.size for batch in found])
