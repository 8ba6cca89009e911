"""One training step against the update rule written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.backend import load_keras, make_reproducible
from pipelines.models import build_model
from pipelines.spec import ModelSpec, TrainingSpec
from pipelines.training_step import compiled

BATCH, WIDTH, VOCABULARY = 3, 5, 7
SPEC = ModelSpec(kind="language_model", cell="gru", embedding=4, units=(6,))


@pytest.mark.parametrize("loop", ["fit", "custom"])
def test_a_token_that_stands_often_in_a_batch_moves_as_adam_says(loop: str) -> None:
    """Kingma and Ba 2015: a first step moves each weight by the learning rate, whatever the
    gradient, so also the vector of a token that was looked up several times."""
    keras = load_keras("tensorflow")
    make_reproducible(keras, 1)
    model = build_model(SPEC, VOCABULARY, training_batch=BATCH)
    step = compiled(model, SPEC.kind, TrainingSpec(learning_rate=0.01, loop=loop))
    tokens = np.array([[1, 1, 1, 1, 2], [1, 1, 2, 3, 1], [1, 1, 1, 1, 1]], np.int32)
    before = np.array(model.get_layer("embedding").embeddings)
    step({"tokens": tokens, "length": np.full(BATCH, WIDTH, np.int32)}, tokens[:, ::-1],
         np.ones((BATCH, WIDTH), np.float32))
    moved = np.abs(np.array(model.get_layer("embedding").embeddings) - before)
    np.testing.assert_allclose(moved[1:4], 0.01, rtol=0.02)  # epsilon shortens it a little
    assert not moved[[0, 4, 5, 6]].any()
