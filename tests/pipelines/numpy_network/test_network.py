"""NumPy's networks compute what Keras's do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.declaration.model_sections import ModelSpec
from pipelines.errors import DamagedError
from pipelines.model.backend import load_keras
from pipelines.model.keras_file import save_model
from pipelines.model.network import build_model
from pipelines.model.sampling import zero_states
from pipelines.numpy_network.network import NumpyNetwork

VOCABULARY = 23
LENGTH = np.array([9, 1, 4, 7, 9], np.int32)
TOKENS = np.random.default_rng(4).integers(0, VOCABULARY, (5, 9)).astype(np.int32)
TOKENS[np.arange(9) >= LENGTH[:, None]] = 0
CELLS = ("simple", "gru", "lstm", "peephole")
BOTH_WAYS = {"bidirectional": True}


def declared(kind: str, cell: str, **options: Any) -> ModelSpec:
    return ModelSpec.model_validate(
        {"kind": kind, "cell": cell, "embedding": 6, "units": [7]} | options
    )


def saved(spec: ModelSpec, path: Path) -> Any:
    """The Keras model, with weights as large as trained ones, saved in `path`."""
    load_keras("tensorflow")
    model, random = build_model(spec, VOCABULARY), np.random.default_rng(8)
    for weight in model.trainable_variables:
        weight.assign(weight + random.normal(0, 0.5, weight.shape))
    save_model(model, path)
    return model


CLASSIFIERS = [
    *(declared("classifier", cell, dense=5) for cell in CELLS),
    *(declared("classifier", cell, **BOTH_WAYS) for cell in CELLS),
    *(declared("classifier", "gru", pool=pool, **BOTH_WAYS) for pool in ("mean", "max", "all")),
    declared("classifier", "lstm", pool="all", dense=4),
    declared("classifier", "lstm", units=[6, 6, 6], residual=True, layer_norm=True, pool="mean"),
    declared("classifier", "lstm", units=[5, 4], dropout={"word": 0.1, "output": 0.5}, **BOTH_WAYS),
]
LANGUAGE_MODELS = [
    *(declared("language_model", cell, units=[7, 5]) for cell in CELLS),
    declared("language_model", "lstm", tie_embeddings=True),
    declared("language_model", "gru", units=[6, 6], tie_embeddings=True, residual=True),
    declared("language_model", "peephole", units=[6, 6], layer_norm=True, dropout=0.3),
]


def named(spec: ModelSpec) -> str:
    given = spec.model_dump(exclude_defaults=True, exclude={"kind", "embedding"})
    return "-".join(f"{key}={value}" for key, value in given.items())


@pytest.mark.slow
@pytest.mark.parametrize("spec", CLASSIFIERS, ids=named)
def test_a_classifiers_logits_are_those_of_keras(spec: ModelSpec, tmp_path: Path) -> None:
    model = saved(spec, tmp_path / "model.keras")
    inputs = {"tokens": TOKENS, "length": LENGTH}
    found = NumpyNetwork.load(tmp_path / "model.keras", spec, VOCABULARY).predict_on_batch(inputs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.predict_on_batch(inputs), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("spec", LANGUAGE_MODELS, ids=named)
def test_a_language_models_logits_and_states_are_those_of_keras(
    spec: ModelSpec, tmp_path: Path
) -> None:
    model = saved(spec, tmp_path / "model.keras")
    network = NumpyNetwork.load(tmp_path / "model.keras", spec, VOCABULARY)
    states = {f"state_{i}": state for i, state in enumerate(zero_states(spec, 5))}
    for tokens in (TOKENS, TOKENS[:, ::-1]):  # the second reads on from the first
        inputs = {"tokens": tokens, "length": LENGTH, **states}
        found, wanted = network.predict_on_batch(inputs), model.predict_on_batch(inputs)
        assert set(found) == set(wanted) == {"logits", *states}
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], rtol=1e-5, atol=1e-5)
        states = {name: wanted[name] for name in states}
    assert network.output["logits"].shape[-1] == VOCABULARY


@pytest.mark.slow
def test_another_network_is_refused(tmp_path: Path) -> None:
    spec, path = CLASSIFIERS[0], tmp_path / "model.keras"
    saved(spec, path)
    for other in (
        {"units": (8,)},
        {"cell": "gru"},
        {"dense": None},
        {"bidirectional": True},
        {"layer_norm": True},
    ):
        with pytest.raises(DamagedError, match="another network than was declared: its layer"):
            NumpyNetwork.load(path, spec.model_copy(update=other), VOCABULARY)
    with pytest.raises(DamagedError, match="its layer embedding has the weights"):
        NumpyNetwork.load(path, spec, VOCABULARY + 1)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with pytest.raises(DamagedError, match="is missing"):
        NumpyNetwork.load(path, CLASSIFIERS[0], VOCABULARY)
    path.write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(DamagedError, match="not a Keras model"):
        NumpyNetwork.load(path, CLASSIFIERS[0], VOCABULARY)
