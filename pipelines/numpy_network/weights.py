"""The weights of a `.keras` file, by layer, without Keras."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import DamagedError
from pipelines.model.keras_bounds import checked_parts

Weights = dict[str, list[np.ndarray]]  # by layer; a part of one has its path added: lstm_0/cell
VARIABLES = "vars"


def read_weights(path: Path) -> Weights:
    """Float32 arrays in the order in which Keras made them. Raises DamagedError if the file is not
    a model."""
    import h5py

    try:
        _, stored, _ = checked_parts(path)
        with h5py.File(io.BytesIO(stored), "r") as file:
            return {
                name: arrays
                for group in file["layers"].values()
                for name, arrays in _arrays(group, _name(group)).items()
            }
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: is missing") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile and HDF5 raise many kinds of errors
        why = error if isinstance(error, DamagedError) else f"({type(error).__name__})"
        raise DamagedError(f"{path}: not a Keras model: {why}") from error


def _name(group: Any) -> str:
    """Keras names the folders by class, and notes the layer's own name beside its variables."""
    return str(group[VARIABLES].attrs["name"])


def _arrays(group: Any, name: str) -> Weights:
    """Those of a layer, and of each of its parts: a wrapper's layers, a layer's cell."""
    found: Weights = {}
    for part, inner in group.items():
        if part != VARIABLES:
            found |= _arrays(inner, f"{name}/{part}")
        elif len(inner):
            found[name] = [np.asarray(inner[str(i)], np.float32) for i in range(len(inner))]
    return found
