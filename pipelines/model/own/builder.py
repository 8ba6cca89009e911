"""Builds the network that a function of the user's own returns, instead of Folio's own."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.declaration.model_sections import ModelSpec
from pipelines.errors import DamagedError, FolioError
from pipelines.model.keras_file import load_model, save_model
from pipelines.model.own.contract import problem_of
from pipelines.store.own_code import OwnFunction

if TYPE_CHECKING:
    import keras


class OwnNetworks:
    """Called as `build_model` is, with the same networks: plain, or for training.

    Raises FolioError with one line if the function fails, or its network does not fit.
    """

    def __init__(self, own: OwnFunction, scratch: Path) -> None:
        self._own, self._trial, self._function = own, scratch / "trial.keras", own.loaded()
        self._first: list[list[str]] = []  # digests of the first network's variables, by layer

    def __call__(
        self,
        spec: ModelSpec,
        vocabulary_size: int,
        training_batch: int | None = None,
        seed: int = 0,
        returns: str = "logits",
        classes: int = 2,
    ) -> keras.Model:
        plain = self._built(spec, vocabulary_size, seed, classes)
        if training_batch is None or spec.kind == "classifier":
            return plain
        return _without_states(plain)

    def _built(self, spec: ModelSpec, vocabulary_size: int, seed: int, classes: int) -> keras.Model:
        more = {"classes": classes} if classes > 2 else {}
        try:
            model = self._function(spec, vocabulary_size, seed, **more)
        except Exception as error:
            raise FolioError(f"{self._own.named}: {self._own.said(error)}") from error
        if problem := problem_of(model, spec, vocabulary_size, classes):
            raise FolioError(f"{self._own.named}: {problem}")
        if self._first:
            self._require_the_same(model)
        else:
            self._try(model)
            self._first = list(map(_digests, model.layers))
        return model

    def _require_the_same(self, model: keras.Model) -> None:
        """A seed that is not given is drawn, so that no training could be repeated."""
        for layer, before in zip(model.layers, self._first, strict=True):
            if _digests(layer) != before:
                raise FolioError(
                    f"{self._own.named}: with the same seed, the layer {layer.name} is another "
                    "each time; give all initializers, dropouts and recurrent layers a seed"
                )

    def _try(self, model: keras.Model) -> None:
        """Saves and loads it before the training, not after it."""
        try:
            save_model(model, self._trial)
            load_model(self._trial)
        except DamagedError as error:
            raise FolioError(
                f"{self._own.named}: its model cannot be saved and loaded: {error}"
            ) from error
        self._trial.unlink()


def _digests(layer: keras.Layer) -> list[str]:
    from keras import ops

    return [sha256(ops.convert_to_numpy(one).tobytes()).hexdigest() for one in layer.variables]


def _without_states(plain: keras.Model) -> keras.Model:
    """The same language model for training: from the zero state, it returns only the logits."""
    from keras import Input, Model, ops

    inputs = {
        name: Input(plain.input[name].shape[1:], dtype="int32", name=name)
        for name in ("tokens", "length")
    }
    zero = ops.zeros_like(ops.cast(inputs["tokens"][:, :1], "float32"))  # (batch, 1)
    states = {
        name: ops.repeat(zero, tensor.shape[-1], axis=1)
        for name, tensor in plain.input.items()
        if name not in inputs
    }
    return Model(inputs, plain(inputs | states)["logits"], name="language_model")
