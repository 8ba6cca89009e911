"""How a split's rows are laid out."""

from __future__ import annotations

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


def file_names(split: str, width: int, count: int) -> list[str]:
    """Of the files of one width, in an order that sorting keeps."""
    digits = max(4, len(str(count - 1)))
    return [
        f"batches/{split}/width-{width:05}-{number:0{digits}}.parquet" for number in range(count)
    ]
