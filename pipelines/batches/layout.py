"""How a split's rows are laid out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.batches.writer import schema
from pipelines.declaration.model_sections import BatchesSpec


@dataclass(frozen=True)
class Layout:
    """What every step must know, and no more: it is sent to each of them."""

    spec: BatchesSpec
    language_model: bool
    stateful: bool
    pad_id: int
    id_type: type[np.generic]
    markers: tuple[int, ...]
    metadata: dict[str, Any]

    @property
    def width(self) -> int:
        """For rows of running text."""
        assert self.spec.sequence_length, "Spec requires it for running text"
        return self.spec.sequence_length

    def columns(self, split: str, width: int, batch_size: int, **metadata: Any) -> pa.Schema:
        """The schema of the files of one width."""
        return schema(
            width,
            self.id_type,
            "targets" if self.language_model else "label",
            self.metadata | metadata | {"batch_size": batch_size, "split": split},
        )


def rows_of_files(written: Iterable[int], batch_size: int, batches_per_file: int) -> list[int]:
    """How many rows each file of a width has, if so many rows are `written` at a time: whole
    batches at once, and the rest with the next ones. A file is full when it has enough batches
    after a write; its bytes depend on that, and so do the digests of earlier versions."""
    files: list[int] = []
    batches = waiting = 0

    def write(rows: int) -> None:
        nonlocal batches
        for start in range(0, rows, batch_size * batches_per_file):
            part = min(rows - start, batch_size * batches_per_file)
            if batches >= len(files) * batches_per_file:
                files.append(0)
            files[-1] += part
            batches += -(-part // batch_size)

    for rows in written:
        whole = (waiting + rows) // batch_size * batch_size
        write(whole)
        waiting += rows - whole
    write(waiting)
    return files


def file_names(split: str, width: int, count: int) -> list[str]:
    """Of the files of one width, in an order that sorting keeps."""
    digits = max(4, len(str(count - 1)))
    return [
        f"batches/{split}/width-{width:05}-{number:0{digits}}.parquet" for number in range(count)
    ]
