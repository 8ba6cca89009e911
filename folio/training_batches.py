"""The batches that a pipeline trains on, for other libraries."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from os import PathLike
from typing import TYPE_CHECKING, Any

from folio.models import named

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import tensorflow as tf
    import torch

    from pipelines.batches.dataset import Batch, Split
    from pipelines.store.artifacts import Artifact

Rows = dict[str, "np.ndarray"]


class SplitBatches:
    """The batches of one split, with the columns tokens, length, weight, and label (classifiers) or
    targets (language models): docs/batches.md. `epoch` gives the order of that epoch; without it,
    batches come in the order of the files."""

    def __init__(self, artifact: Artifact, name: str) -> None:
        self.name, self._artifact = name, artifact

    def __len__(self) -> int:
        return self._split.batch_count

    def __iter__(self) -> Iterator[Rows]:
        return self.epoch(None)

    def epoch(self, epoch: int | None) -> Iterator[Rows]:
        """Each batch as arrays (rows, width) and (rows,)."""
        split = self._split
        batches = split.in_order() if epoch is None else split.epoch(epoch)
        return (_columns(batch, split.outcome) for batch in batches)

    def arrays(self) -> Rows:
        """All rows in memory, padded to the widest."""
        import numpy as np

        batches = list(self)
        width = max(batch["tokens"].shape[1] for batch in batches)
        return {
            name: np.concatenate([self._padded(batch[name], width) for batch in batches])
            for name in batches[0]
        }

    def tf(self, epoch: int | None = None) -> tf.data.Dataset:
        """As a tf.data.Dataset of batches."""
        import tensorflow as tf

        shapes = {
            name: tf.TensorSpec([None] * array.ndim, array.dtype)
            for name, array in next(iter(self)).items()
        }
        made = tf.data.Dataset.from_generator(lambda: self.epoch(epoch), output_signature=shapes)
        return made.apply(tf.data.experimental.assert_cardinality(len(self)))

    def torch(self, epoch: int | None = None) -> torch.utils.data.DataLoader:
        """As a DataLoader of batches."""
        data = _installed("torch.utils.data", "a DataLoader")
        from torch import from_numpy

        split = self

        class Batches(data.IterableDataset):  # type: ignore[name-defined]
            def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
                for batch in split.epoch(epoch):
                    yield {name: from_numpy(array) for name, array in batch.items()}

            def __len__(self) -> int:
                return len(split)

        return data.DataLoader(Batches(), batch_size=None)

    def duckdb(self) -> duckdb.DuckDBPyRelation:
        """As a DuckDB relation of rows, which also has each document's id; reads only what a query
        needs."""
        return _installed("duckdb", "a relation").read_parquet([str(one) for one in self.paths])

    @property
    def paths(self) -> list[Any]:
        """The Parquet files."""
        return self._split.paths

    @cached_property
    def _split(self) -> Split:
        from pipelines.batches.dataset import Split

        return Split(self._artifact, self.name)

    def _padded(self, array: np.ndarray, width: int) -> np.ndarray:
        import numpy as np

        if array.ndim == 1:
            return array
        missing = ((0, 0), (0, width - array.shape[1]))
        return np.pad(array, missing, constant_values=self._split.metadata["pad_id"])


class Batches:
    """The batches of a run, by split."""

    def __init__(self, artifact: Artifact) -> None:
        self.path = artifact.path
        self.train = SplitBatches(artifact, "train")
        self.validation = SplitBatches(artifact, "validation")
        self.test = SplitBatches(artifact, "test")

    def __repr__(self) -> str:
        return f"<folio batches {self.path}>"


def batches(reference: str | PathLike[str]) -> Batches:
    """The batches of a pipeline's latest run, of a model (`imdb@champion`) or of a run.

    Raises UsageError if there are none.
    """
    from pipelines.files.home import home_folder
    from pipelines.store.settings import Settings

    settings = Settings.at(home_folder())
    return Batches(settings.store.open("batches", _key(named(reference), settings)))


def _key(reference: str, settings: Any) -> str:
    from pipelines.declaration.reading.declared import pipeline_name
    from pipelines.errors import UsageError
    from pipelines.registry.references import of_run, resolve

    for record in settings.runs:
        if record["pipeline"] == pipeline_name(reference) and (
            key := of_run(record).keys.get("batches")
        ):
            return key
    try:
        return resolve(reference, settings).keys["batches"]
    except (UsageError, KeyError) as error:
        why = error if "@" in reference else "no run of it has batches"
        raise UsageError(
            f"{reference}: {why}; make them with folio.run({reference!r}, until='batches')"
        ) from error


def _columns(batch: Batch, outcome: str) -> Rows:
    return {
        "tokens": batch.tokens,
        "length": batch.length,
        outcome: batch.outcome,
        "weight": batch.weight,
    }


def _installed(module: str, what: str) -> Any:
    from importlib import import_module

    from pipelines.errors import UsageError

    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(
            f"{what} needs {package}, which is not installed: pip install {package}"
        ) from error
