"""What a user's network must take and return: the inputs and outputs of Folio's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipelines.declaration.model_sections import ModelSpec
from pipelines.model.keras_bounds import unallocated
from pipelines.model.network import build_model

if TYPE_CHECKING:
    import keras

Ends = dict[str, str]  # {input or output: its shape and type, in words}
PLAIN = "keras"  # the package of all that a `.keras` file may name, but for Folio's own cells
OWN_CELLS = "folio>"
CODE = ("Lambda", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "TFSMLayer")


def contract(model: keras.Model) -> Ends:
    """Its inputs and outputs."""
    ends = {"input": model.input, "output": model.output}
    return {
        f"{end} {name}".strip(): f"{tensor.dtype} {tuple(tensor.shape)}"
        for end, tensors in ends.items()
        for name, tensor in (tensors if isinstance(tensors, dict) else {"": tensors}).items()
    }


def declared_contract(spec: ModelSpec, vocabulary_size: int, classes: int = 2) -> Ends:
    """Those of the network that Folio would build."""
    return unallocated(lambda: build_model(spec, vocabulary_size, classes=classes), contract)


def problem_of(model: Any, spec: ModelSpec, vocabulary_size: int, classes: int = 2) -> str | None:
    """Why a network cannot be trained and served in place of Folio's own; None if it can."""
    import keras

    if not isinstance(model, keras.Model):
        return f"returned {type(model).__name__}, not a keras.Model"
    if not isinstance(getattr(model, "input", None), dict):
        return "its inputs are no mapping: keras.Model({'tokens': …, 'length': …}, …)"
    found, wanted = contract(model), declared_contract(spec, vocabulary_size, classes)
    for end in [*wanted, *(end for end in found if end not in wanted)]:
        if found.get(end) != wanted.get(end):
            return f"its {end} is {found.get(end, 'missing')}, not {wanted.get(end, 'expected')}"
    code = next(_code_in(keras.saving.serialize_keras_object(model)), None)
    if code:
        return f"{code} is not a part of Keras, so that the model could not be loaded elsewhere"
    return None


def _code_in(config: Any) -> Iterator[str]:
    """What in a model's configuration only the code of another package could build."""
    if isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        registered = str(config.get("registered_name"))
        foreign = (module is None and ">" in registered) or str(module or PLAIN).split(".")[
            0
        ] != PLAIN
        if name in CODE or (name and foreign and not registered.startswith(OWN_CELLS)):
            yield config["config"] if name == "function" else name
        for own in config.values():
            yield from _code_in(own)
    elif isinstance(config, list | tuple):
        for own in config:
            yield from _code_in(own)
