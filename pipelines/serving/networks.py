"""A package's network: a Keras model, or the same computed with NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, Union

from pipelines.errors import DamagedError
from pipelines.model.keras_bounds import outline, unallocated
from pipelines.model.keras_file import load_model
from pipelines.model.network import build_model
from pipelines.model.own.contract import contract
from pipelines.numpy_network.network import NumpyNetwork
from pipelines.serving.package import DECLARED, Package

if TYPE_CHECKING:
    import keras

Network: TypeAlias = Union["keras.Model", NumpyNetwork]


def keras_network(package: Package) -> keras.Model:
    """Keras must be loaded. Raises DamagedError if it is not the network that the package
    declares."""
    model = load_model(package.model)
    size, classes = package.vocabulary.size, len(package.settings.labels)
    looked_at = contract if package.spec.builder else outline
    declared = unallocated(lambda: build_model(package.spec, size, classes=classes), looked_at)
    if looked_at(model) != declared:
        raise DamagedError(f"{package.model}: another network than {DECLARED} declares")
    return model


def numpy_network(package: Package) -> NumpyNetwork:
    """Raises as `keras_network` does."""
    size, classes = package.vocabulary.size, len(package.settings.labels)
    return NumpyNetwork.load(package.model, package.spec, size, classes)
