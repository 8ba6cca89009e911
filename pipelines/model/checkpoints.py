"""Training checkpoints: everything that the next step depends on, published atomically.

One `.npz` holds every variable (weights, optimizer, dropout generators, carried state) and, as
JSON, the position: epoch, step, running sums, history, best epoch. Read without pickle.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import FolioError
from pipelines.files.whole_files import replacing

if TYPE_CHECKING:
    import keras

POSITION = "position"


@dataclass
class Position:
    """The position of the training; with the variables, everything that the next step depends
    on."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_weight: float = 0.0
    tokens: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    epoch_seconds: list[float] = field(default_factory=list)
    best_epoch: int = 0  # none yet
    processors: list[str] = field(default_factory=list)  # on which it was trained


def save(path: Path, variables: list[keras.Variable], position: dict[str, Any]) -> None:
    """Write atomically: a reader sees the old checkpoint or the new one."""
    arrays = {f"v{i:04}": np.asarray(v) for i, v in enumerate(_arrays(variables))}
    arrays[POSITION] = np.frombuffer(json.dumps(position).encode(), np.uint8)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle


def load(path: Path, variables: list[keras.Variable]) -> dict[str, Any] | None:
    """Set the variables and return the position, or None if there is no checkpoint."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        if len(stored.files) != len(variables) + 1:
            raise FolioError(f"{path}: a checkpoint of another model; delete it and run again")
        for i, variable in enumerate(variables):
            variable.assign(stored[f"v{i:04}"])
        return json.loads(stored[POSITION].tobytes())


def _arrays(variables: list[keras.Variable]) -> list[Any]:
    from keras import ops

    return [ops.convert_to_numpy(variable) for variable in variables]
