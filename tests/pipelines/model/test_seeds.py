"""The first weights and the dropout are a function of the seed: nothing else is drawn from."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.training_section import TrainingSpec
from pipelines.model.backend import load_keras
from pipelines.model.keras_file import load_model, save_model
from pipelines.model.network import build_model, seed_for
from pipelines.model.train_step import compiled

pytestmark = pytest.mark.slow

VOCABULARY, BATCH = 12, 3
CELLS = ("simple", "lstm", "gru", "peephole")


def classifier(cell: str) -> ModelSpec:
    return ModelSpec(
        kind="classifier",
        cell=cell,
        bidirectional=True,
        embedding=4,
        units=(4, 4),
        dense=4,
        dropout=0.4,
    )


def writer(cell: str) -> ModelSpec:
    return ModelSpec(kind="language_model", cell=cell, embedding=4, units=(4, 4), dropout=0.4)


@pytest.fixture
def nothing_to_draw_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras fails where it would draw a seed that it was not given."""
    load_keras("tensorflow")

    def drawn() -> int:
        raise AssertionError("a seed was drawn from the global generator")

    for name, module in list(sys.modules.items()):
        if name.startswith("keras.src") and "make_default_seed" in vars(module):
            monkeypatch.setattr(module, "make_default_seed", drawn)


def test_a_seed_is_the_same_in_every_process_and_another_for_every_part() -> None:
    assert seed_for(1, "lstm_0", "kernel") == 1505594977
    parts = itertools.product(range(20), ("lstm_0", "lstm_1", "lstm"), ("kernel", "dropout"))
    seeds = [seed_for(*part) for part in parts]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.usefixtures("nothing_to_draw_from")
@pytest.mark.parametrize("training", [None, BATCH], ids=["plain", "training"])
@pytest.mark.parametrize(
    "spec",
    [kind(cell) for kind in (classifier, writer) for cell in CELLS],
    ids=lambda spec: f"{spec.kind}-{spec.cell}",
)
def test_weights_are_a_function_of_the_seed(
    spec: ModelSpec, training: int | None, tmp_path: Path
) -> None:
    one, again, other = (build_model(spec, VOCABULARY, training, seed) for seed in (5, 5, 6))
    random = [
        (a.path, np.array(a), np.array(b), np.array(c))
        for a, b, c in zip(one.weights, again.weights, other.weights, strict=True)
        if np.ptp(np.array(a)) and not a.path.endswith("bias")
    ]
    assert len(random) >= 6
    for path, first, second, third in random:
        np.testing.assert_array_equal(first, second, path)
        assert (first != third).any(), path
    for (path, a, *_), (name, b, *_) in itertools.combinations(random, 2):
        if a.shape == b.shape:  # of two layers, or of the two directions
            assert (a != b).any(), (path, name)
    if training is None:  # neither does loading draw
        save_model(one, tmp_path / "model.keras")
        for a, b in zip(one.weights, load_model(tmp_path / "model.keras").weights, strict=True):
            np.testing.assert_array_equal(np.array(a), np.array(b))


@pytest.mark.usefixtures("nothing_to_draw_from")
@pytest.mark.parametrize(
    "spec",
    [
        classifier("lstm"),
        writer("gru"),
        *(
            pytest.param(kind(cell), marks=pytest.mark.long)
            for kind, cell in ((classifier, "simple"), (writer, "peephole"))
        ),
    ],
    ids=lambda spec: f"{spec.kind}-{spec.cell}",
)
def test_a_step_draws_from_no_global_generator(spec: ModelSpec) -> None:
    model = build_model(spec, VOCABULARY, BATCH, 5)
    tokens = np.arange(2, 11, dtype=np.int32).reshape(BATCH, 3)
    binary = spec.kind == "classifier"
    y = np.ones((BATCH, 1), np.float32) if binary else tokens
    weight = np.ones(BATCH if binary else (BATCH, 3), np.float32)
    loss = compiled(model, spec.kind, TrainingSpec())(
        {"tokens": tokens, "length": np.full(BATCH, 3, np.int32)}, y, weight
    )
    assert np.isfinite(loss)
