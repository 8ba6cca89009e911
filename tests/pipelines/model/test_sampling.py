"""Drawing text: what comes out is what the model says, on every path and in every block size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipelines.declaration.model_sections import ModelSpec
from pipelines.errors import UsageError
from pipelines.model import decoding, sampling
from pipelines.model.backend import load_keras
from pipelines.model.network import build_model, state_names
from pipelines.model.sampling import Noise, sample, zero_states

pytestmark = pytest.mark.slow

VOCABULARY = 11
FIRST_ID = 2  # padding and the unknown token are before it
START = np.array([4, 9, 2])
LONG_START = np.arange(20) % 9 + FIRST_ID
LENGTH = 20
CELLS = ("simple", "lstm", "gru", "peephole")
MOSTLY_LSTM = [
    cell if cell == "lstm" else pytest.param(cell, marks=pytest.mark.long) for cell in CELLS
]
Models = dict[str, tuple[Any, ModelSpec]]


@pytest.fixture(scope="module")
def models() -> Models:
    """A language model per kind of cell, two layers each, with logits that differ clearly."""
    keras = load_keras("tensorflow")
    keras.utils.set_random_seed(3)
    made = {}
    for cell in CELLS:
        spec = ModelSpec(kind="language_model", cell=cell, units=(5, 7), embedding=3)
        model = build_model(spec, VOCABULARY)
        for variable in model.trainable_variables:
            variable.assign(variable * 3 + 0.1)
        made[cell] = model, spec
    return made


def logits_after(model: Any, spec: ModelSpec, ids: np.ndarray) -> np.ndarray:
    """(tokens, vocabulary): the model read in one go, as evaluation reads it."""
    states = dict(zip(state_names(spec), zero_states(spec, 1), strict=True))
    outputs = model.predict_on_batch(
        {"tokens": ids[None].astype(np.int32), "length": np.array([len(ids)], np.int32), **states}
    )
    return outputs["logits"][0]


def logits_after_each(model: Any, spec: ModelSpec, texts: list[np.ndarray]) -> np.ndarray:
    """(texts, vocabulary): as training reads windows, right-padded and masked by their length."""
    length = np.array([len(ids) for ids in texts], np.int32)
    tokens = np.stack([np.pad(ids, (0, max(length) - len(ids))) for ids in texts])
    states = dict(zip(state_names(spec), zero_states(spec, len(texts)), strict=True))
    outputs = model.predict_on_batch(
        {"tokens": tokens.astype(np.int32), "length": length, **states}
    )
    return outputs["logits"][np.arange(len(texts)), length - 1]


@pytest.mark.parametrize("cell", CELLS)
def test_temperature_0_takes_the_likeliest(models: Models, cell: str) -> None:
    model, spec = models[cell]
    drawn = sample(model, spec, START, 1, 20, 0.0, seed=1)[0]
    logits = logits_after(model, spec, np.concatenate([START, drawn]))[len(START) - 1 : -1]
    assert drawn.tolist() == (logits[:, FIRST_ID:].argmax(axis=1) + FIRST_ID).tolist()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize(("top_k", "context"), [(None, None), (3, None), (3, 4)])
@pytest.mark.parametrize(
    ("streams", "table_values"), [(2, 2**20), pytest.param(600, 0, marks=pytest.mark.long)]
)
def test_the_compiled_loop_draws_what_the_plain_one_draws(
    models: Models,
    cell: str,
    top_k: int | None,
    context: int | None,
    streams: int,
    table_values: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "TABLE_VALUES", table_values)
    model, spec = models[cell]
    compiled = sample(model, spec, START, streams, 12, 0.9, 5, top_k, context=context)
    monkeypatch.setattr(sampling, "advance_of", decoding.plain_advance)
    plain = sample(model, spec, START, streams, 12, 0.9, 5, top_k, context=context)
    assert compiled.shape == (streams, 12)
    assert (compiled == plain).all()


@pytest.mark.parametrize(
    "units", [(5, 5), pytest.param((3, 3), marks=pytest.mark.long)], ids=["projected", "as wide"]
)
def test_tied_embeddings_and_residual_connections_are_drawn_from(
    units: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_keras("tensorflow")
    spec = ModelSpec(
        kind="language_model",
        units=units,
        embedding=3,
        tie_embeddings=True,
        residual=True,
        layer_norm=True,
    )
    model = build_model(spec, VOCABULARY)
    for variable in model.trainable_variables:
        variable.assign(variable * 3 + 0.1)
    model.get_layer("logits").embeddings.assign(np.sin(np.arange(VOCABULARY))[:, None])
    drawn = sample(model, spec, START, 1, 20, 0.0, seed=1)[0]
    logits = logits_after(model, spec, np.concatenate([START, drawn]))[len(START) - 1 : -1]
    assert drawn.tolist() == (logits[:, FIRST_ID:].argmax(axis=1) + FIRST_ID).tolist()
    compiled = sample(model, spec, START, 60, 12, 0.9, 5, 6)
    monkeypatch.setattr(sampling, "advance_of", decoding.plain_advance)
    assert (sample(model, spec, START, 60, 12, 0.9, 5, 6) == compiled).all()


@pytest.mark.parametrize("cell", MOSTLY_LSTM)
@pytest.mark.parametrize(("start", "context"), [(START, 1), (START, 8), (LONG_START, 8)])
def test_a_context_is_read_from_the_zero_state(
    models: Models, cell: str, context: int, start: np.ndarray
) -> None:
    model, spec = models[cell]
    drawn = sample(model, spec, start, 1, LENGTH, 1.5, seed=1, context=context)[0]
    text = np.concatenate([start, drawn])
    windows = [text[max(0, place - context) : place] for place in range(len(start), len(text))]
    noise = Noise(1, np.array([1.5]), VOCABULARY - FIRST_ID).block(np.full(LENGTH, -1), LENGTH)[
        :, 0
    ]
    logits = logits_after_each(model, spec, windows)[:, FIRST_ID:]
    assert drawn.tolist() == ((logits + noise).argmax(axis=1) + FIRST_ID).tolist()


@pytest.mark.parametrize("cell", MOSTLY_LSTM)
def test_a_context_of_all_is_the_carried_state(models: Models, cell: str) -> None:
    model, spec = models[cell]
    carried = sample(model, spec, START, 3, 70, 1.0, seed=6)
    assert (sample(model, spec, START, 3, 70, 1.0, seed=6, context=72) == carried).all()
    assert (sample(model, spec, START, 3, 70, 1.0, seed=6, context=10**9) == carried).all()
    # A token of context less, and only the last token can tell: the readers are the carried state.
    assert (
        sample(model, spec, START, 3, 70, 1.0, seed=6, context=71)[:, :-1] == carried[:, :-1]
    ).all()


def test_a_context_leaves_streams_and_seeds_apart(models: Models) -> None:
    model, spec = models["gru"]
    many = sample(model, spec, START, 5, 90, 1.0, seed=7, context=4)
    assert (many[:2, :30] == sample(model, spec, START, 2, 30, 1.0, seed=7, context=4)).all()
    assert len({tuple(row) for row in many}) == 5
    assert (many != sample(model, spec, START, 5, 90, 1.0, seed=7, context=5)).any()


def test_draws_follow_the_softmax(models: Models) -> None:
    model, spec = models["gru"]
    streams, temperature = 4000, 1.7
    drawn = sample(model, spec, START, streams, 1, temperature, seed=2)[:, 0]
    logits = logits_after(model, spec, START)[-1, FIRST_ID:].astype(np.float64) / temperature
    chance = np.exp(logits) / np.exp(logits).sum()
    share = np.bincount(drawn - FIRST_ID, minlength=VOCABULARY - FIRST_ID) / streams
    assert np.abs(share - chance).max() < 5 * np.sqrt(0.25 / streams)
    assert (share > 0).sum() > 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_padding_and_unknown_never_come_out(models: Models, temperature: float) -> None:
    model, spec = models["lstm"]
    bias = model.get_layer("logits").bias
    before = bias.numpy()
    bias.assign(before + np.where(np.arange(VOCABULARY) < FIRST_ID, 50, 0))
    try:
        assert sample(model, spec, START, 3, 40, temperature, seed=1).min() >= FIRST_ID
    finally:
        bias.assign(before)


@pytest.mark.parametrize("path", ["advance_of", "plain_advance"])
def test_what_never_comes_out_can_be_anywhere(
    models: Models, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, spec = models["gru"]
    monkeypatch.setattr(sampling, "advance_of", getattr(decoding, path))
    never = (0, 1, 3, 10)  # as subwords have it, and the last
    drawn = sample(model, spec, START, 400, 1, 9.0, 1, never=never)
    assert set(drawn.ravel().tolist()) == {2, 4, 5, 6, 7, 8, 9}
    likeliest = logits_after(model, spec, START)[-1]
    likeliest[list(never)] = -np.inf
    assert sample(model, spec, START, 1, 1, 0.0, 1, never=never)[0, 0] == likeliest.argmax()
    assert (
        sample(model, spec, START[:0], 1, 9, 1.0, 1, never=never)
        == sample(model, spec, np.array([2]), 1, 9, 1.0, 1, never=never)
    ).all()


def test_a_stream_depends_on_seed_and_number_alone(models: Models) -> None:
    model, spec = models["gru"]
    many = sample(model, spec, START, 5, 90, 1.0, seed=7)
    few = sample(model, spec, START, 2, 30, 1.0, seed=7)
    assert (many[:2, :30] == few).all()
    assert len({tuple(row) for row in many}) == 5
    assert (many == sample(model, spec, START, 5, 90, 1.0, seed=7)).all()
    assert (many != sample(model, spec, START, 5, 90, 1.0, seed=8)).any()


def test_each_stream_may_have_its_temperature(models: Models) -> None:
    model, spec = models["gru"]
    mixed = sample(model, spec, START, 3, 25, np.array([0.0, 1.0, 0.5]), seed=4)
    for row, temperature in enumerate((0.0, 1.0, 0.5)):
        assert (mixed[row] == sample(model, spec, START, 3, 25, temperature, seed=4)[row]).all()


@pytest.mark.parametrize("start", [1, 7, 20])
def test_blocks_leave_no_trace(models: Models, start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, spec = models["lstm"]
    ids = np.arange(start) % (VOCABULARY - FIRST_ID) + FIRST_ID
    whole = sample(model, spec, ids, 2, 30, 1.0, seed=1)
    monkeypatch.setattr(sampling, "STEPS", 7)
    assert (sample(model, spec, ids, 2, 30, 1.0, seed=1) == whole).all()


def test_top_k_of_1_is_the_likeliest_and_a_large_one_changes_nothing(models: Models) -> None:
    model, spec = models["gru"]
    assert (
        sample(model, spec, START, 2, 15, 2.0, 1, top_k=1)
        == sample(model, spec, START, 2, 15, 0.0, 1)
    ).all()
    assert (
        sample(model, spec, START, 2, 15, 2.0, 1, top_k=1000)
        == sample(model, spec, START, 2, 15, 2.0, 1)
    ).all()


def test_an_empty_start_is_the_first_token(models: Models) -> None:
    model, spec = models["gru"]
    assert (
        sample(model, spec, np.array([], np.uint16), 1, 9, 1.0, 1)
        == sample(model, spec, np.array([FIRST_ID]), 1, 9, 1.0, 1)
    ).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length", 0),
        ("streams", 0),
        ("seed", -1),
        ("top_k", 0),
        ("context", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
    ],
)
def test_impossible_values_are_refused(models: Models, name: str, value: float) -> None:
    model, spec = models["gru"]
    given = {"streams": 1, "length": 5, "temperature": 1.0, "seed": 1} | {name: value}
    with pytest.raises(UsageError, match=f"{name} {value}"):
        sample(model, spec, START, **given)


def test_the_weights_are_those_of_now(models: Models) -> None:
    model, spec = models["gru"]
    before = sample(model, spec, START, 2, 12, 0.9, 5)
    weights = model.get_weights()
    try:
        model.set_weights([weight[..., ::-1].copy() for weight in weights])
        after = sample(model, spec, START, 2, 12, 0.9, 5)
        decoding.advance_of.cache_clear()
        assert (sample(model, spec, START, 2, 12, 0.9, 5) == after).all()
    finally:
        model.set_weights(weights)
    assert not (before == after).all()
    assert (sample(model, spec, START, 2, 12, 0.9, 5) == before).all()
