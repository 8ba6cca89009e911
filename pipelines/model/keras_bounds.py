"""Checks a `.keras` file before Keras opens it, so that it cannot expand in memory.

Keras stores the archive's members and the arrays in them uncompressed, and the configuration needs
exactly those arrays. If any of the three claims more than its container holds, the file was not
written by Keras and could fill the memory.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines.errors import DamagedError

if TYPE_CHECKING:
    from collections.abc import Callable

    import h5py
    import keras

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
MEMBERS = sorted([CONFIG, WEIGHTS, "metadata.json"])
NUMBERS = "fiub"  # the array types of weights: floats, integers, booleans
ENCRYPTED = 0x1

T = TypeVar("T")
Shape = tuple[int | None, ...]
Outline = dict[str, list[Shape]]  # the weights' shapes of each layer that has weights; the inputs'


def check(path: Path) -> None:
    """Raises DamagedError if the file claims more than it holds, or for any error that Keras, HDF5
    and zipfile raise for an invalid file. Keras must be loaded."""
    config, _, stored = checked_parts(path)
    needed = unallocated(lambda: _unbuilt(config), _size)
    if needed > stored:  # a weight takes at least one byte
        raise DamagedError(f"its layers have {needed:,} weights, its arrays {stored:,} bytes")


def checked_parts(path: Path) -> tuple[dict[str, Any], bytes, int]:
    """The configuration, the weights' HDF5 file, and the bytes of its arrays, which are plain and
    no larger than the file. Raises as `check` does, without Keras."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        _check_members(archive.infolist(), size)
        weights, config = archive.read(WEIGHTS), json.loads(archive.read(CONFIG))
    stored = _stored(weights)
    if stored > len(weights):
        raise DamagedError(f"its arrays claim {stored:,} bytes, {WEIGHTS} has {len(weights):,}")
    return config, weights, stored


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    if sorted(one.filename for one in members) != MEMBERS:
        raise DamagedError(f"does not contain exactly {', '.join(MEMBERS)}")
    for one in members:
        if one.compress_type != zipfile.ZIP_STORED or one.flag_bits & ENCRYPTED:
            raise DamagedError(
                f"its {one.filename} is compressed or encrypted, which Keras never does"
            )
    stated = sum(one.file_size for one in members)
    if stated > size:
        raise DamagedError(f"claims {stated:,} bytes and has {size:,}")


def _stored(weights: bytes) -> int:
    """Bytes of the arrays once read. Raises DamagedError if they are not plain arrays."""
    import h5py

    total = 0

    # A visitor's return value ends the visit; HDF5 does not let it raise.
    def elsewhere(name: str, link: Any) -> str | None:
        return None if isinstance(link, h5py.HardLink) else f"its {name!r} is a link"

    def odd(name: str, item: h5py.Group | h5py.Dataset) -> str | None:
        nonlocal total
        if not isinstance(item, h5py.Dataset):
            return None
        if item.external or item.is_virtual or item.dtype.kind not in NUMBERS:
            return f"its array {name!r} is not a plain array"
        total += math.prod(item.shape or ()) * item.dtype.itemsize
        return None

    with h5py.File(io.BytesIO(weights), "r") as file:
        if problem := file.visititems_links(elsewhere) or file.visititems(odd):
            raise DamagedError(problem)
    return total


def _unbuilt(config: dict[str, Any]) -> keras.Model:
    import keras

    return keras.saving.deserialize_keras_object(config | {"compile_config": None}, safe_mode=True)


def unallocated(build: Callable[[], keras.Model], ask: Callable[[keras.Model], T]) -> T:
    """What `ask` returns for the model that `build` builds with the shapes of its weights only.

    In a separate thread: what Keras stores there, to initialize the weights later, ends with it.
    """
    import keras

    def asked() -> T:
        with keras.StatelessScope(initialize_variables=False):
            return ask(build())

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asked).result()


def _size(model: keras.Model) -> int:
    return sum(math.prod(weight.shape) for weight in model.weights)


def outline(model: keras.Model) -> Outline:
    inputs = {tensor.name: [tuple(tensor.shape)] for tensor in model.inputs}
    return inputs | {
        layer.name: [tuple(weight.shape) for weight in layer.weights]
        for layer in model.layers
        if layer.weights
    }
