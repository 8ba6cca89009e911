"""Held-out scores over every layout against one plain forward pass of the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.batches.dataset import Split
from pipelines.declaration.model_sections import BatchesSpec, ModelSpec
from pipelines.model import scoring
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.network import build_model, state_names
from pipelines.model.scoring import Scorer
from tests.conftest import artifact_in
from tests.pipelines.batches.test_stage import build as build_batches

pytestmark = pytest.mark.slow

VOCABULARY = 40
STATEFUL = ModelSpec(kind="language_model", cell="lstm", embedding=6, units=(5, 3), stateful=True)
PLAIN = STATEFUL.model_copy(update={"stateful": False})


def model_of(spec: ModelSpec):
    make_reproducible(load_keras("tensorflow"))
    model = build_model(spec, VOCABULARY)
    random = np.random.default_rng(0)  # far from the even start, so that contexts matter
    for weight in model.trainable_variables:
        weight.assign(random.normal(0, 0.7, weight.shape))
    return model


def documents(seed: int, *lengths: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [random.integers(4, VOCABULARY, n).tolist() for n in lengths]


def batches(folder: Path, test: list[list[int]], stateful: bool = False, **spec) -> Split:
    train = documents(1, *(9, 14) * 12)
    out, _ = build_batches(
        folder,
        BatchesSpec(**spec),
        "language_model",
        stateful,
        train=train,
        validation=train[:2],
        test=test,
    )
    return Split(artifact_in(out), "test")


def forward(model, ids: list[int], state: list[np.ndarray] | None = None):
    """Nats and hits of all tokens of `ids` but the first, in float64, and the state after."""
    names = [name for name in model.output if name != "logits"]
    zero = [np.zeros((1, model.input[name].shape[1]), np.float32) for name in names]
    outputs = model(
        {
            "tokens": np.array([ids[:-1]]),
            "length": np.array([len(ids) - 1]),
            **dict(zip(names, state or zero, strict=True)),
        }
    )
    logits = np.asarray(outputs["logits"])[0].astype(np.float64)
    chosen = logits[np.arange(len(ids) - 1), ids[1:]]
    nats = np.log(np.exp(logits).sum(axis=1)) - chosen
    return nats, logits.argmax(axis=1) == ids[1:], [np.asarray(outputs[name]) for name in names]


def scored_rows(model, spec: ModelSpec, split: Split) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{id: nats and hits of the row's real positions}."""
    rows = {}
    for one in Scorer(model, spec).batches(split, ids=True):
        assert not one.nats[~one.batch.real].any() and not one.correct[~one.batch.real].any()
        for name, nats, hits, real in zip(
            one.batch.ids, one.nats, one.correct, one.batch.real, strict=True
        ):
            rows[name] = nats[real], hits[real]
    return rows


@pytest.fixture(
    params=[2**24, pytest.param(3 * VOCABULARY * 4, marks=pytest.mark.long)],
    ids=["whole batches", "slices"],
)
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in slices of a few steps, with the state carried between them."""
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", request.param)


@pytest.mark.usefixtures("at_once")
def test_documents_begin_with_the_zero_state(tmp_path: Path) -> None:
    model, texts = model_of(PLAIN), documents(2, 14, 2, 9, 13, 1, 10, 7)
    split = batches(tmp_path, texts, layout="documents", batch_size=3, max_buckets=2)
    rows = scored_rows(model, PLAIN, split)
    assert sorted(rows) == ["test/0", "test/1", "test/2", "test/3", "test/5", "test/6"]
    for name, (nats, hits) in rows.items():
        wanted, right, _ = forward(model, texts[int(name.split("/")[1])])
        np.testing.assert_allclose(nats, wanted, atol=1e-6)
        np.testing.assert_array_equal(hits, right)


@pytest.mark.usefixtures("at_once")
def test_a_stateful_model_reads_documents_as_in_training(tmp_path: Path) -> None:
    """Row k of a batch begins with the state in which row k of the batch before ended."""
    model, texts = model_of(STATEFUL), documents(3, 8, 3, 14, 5, 11, 2, 9)
    split = batches(tmp_path, texts, True, layout="documents", batch_size=3)
    rows, states = scored_rows(model, STATEFUL, split), [None] * 3
    for i, text in enumerate(texts):
        wanted, _, states[i % 3] = forward(model, text, states[i % 3])
        np.testing.assert_allclose(rows[f"test/{i}"][0], wanted, atol=1e-6)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("spec", [PLAIN, STATEFUL], ids=["plain", "stateful"])
def test_a_lane_is_one_long_read(tmp_path: Path, spec: ModelSpec) -> None:
    model, texts = model_of(spec), documents(4, 40, 33)
    split = batches(tmp_path, texts, spec.stateful, sequence_length=7, batch_size=2)
    assert split.carries_state and split.batch_size == 1
    scored = list(Scorer(model, spec).batches(split))
    wanted, hits, _ = forward(model, texts[0] + texts[1])
    np.testing.assert_allclose(
        np.concatenate([one.nats[one.batch.real] for one in scored]), wanted, atol=1e-6
    )
    np.testing.assert_array_equal(
        np.concatenate([one.correct[one.batch.real] for one in scored]), hits
    )
    assert [int(one.read[0]) for one in scored] == list(range(0, 72, 7))


@pytest.mark.usefixtures("at_once")
def test_windows_predict_their_last_token(tmp_path: Path) -> None:
    model, texts = model_of(PLAIN), documents(5, 8, 5, 6)
    split = batches(tmp_path, texts, layout="windows", sequence_length=5, batch_size=3)
    rows = scored_rows(model, PLAIN, split)
    assert sorted(rows) == ["test/0@0", "test/0@1", "test/0@2", "test/2@0"]
    for name, (nats, _) in rows.items():
        text, start = (int(part) for part in name.removeprefix("test/").split("@"))
        wanted, _, _ = forward(model, texts[text][start : start + 6])
        np.testing.assert_allclose(nats, wanted[-1:], atol=1e-6)


@pytest.mark.long
def test_sums_are_exact_where_float32_is_not(tmp_path: Path) -> None:
    """Large logits and nats that nearly cancel: the sum stays within 1e-6 of float64's."""
    model = model_of(PLAIN)
    bias = model.get_layer("logits").bias
    bias.assign(np.random.default_rng(1).normal(500, 20, bias.shape))
    text = documents(6, 400)
    split = batches(tmp_path, text, sequence_length=20, batch_size=2)
    got = sum(one.nats.sum() for one in Scorer(model, PLAIN).batches(split))
    names = state_names(PLAIN)
    logits = np.asarray(
        model(
            {
                "tokens": np.array([text[0][:-1]]),
                "length": np.array([399]),
                **{name: np.zeros((1, model.input[name].shape[1]), np.float32) for name in names},
            }
        )["logits"]
    )[0].astype(np.float64)
    top = logits.max(axis=1)
    nats = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    wanted = (nats - logits[np.arange(399), text[0][1:]]).sum()
    assert got == pytest.approx(wanted, rel=1e-6)


def test_summary_divides_sums_once(tmp_path: Path) -> None:
    model, texts = model_of(PLAIN), documents(7, 12, 3, 9, 6)
    split = batches(tmp_path, texts, layout="documents", batch_size=3, max_buckets=2)
    nats, hits = (
        np.concatenate(parts)
        for parts in zip(*(forward(model, text)[:2] for text in texts), strict=True)
    )
    summary = Scorer(model, PLAIN).summary(split)
    assert summary == {
        "loss": pytest.approx(nats.mean()),
        "accuracy": pytest.approx(hits.mean()),
        "perplexity": pytest.approx(np.exp(nats.mean())),
    }


def test_a_classifier_scores_each_document_once(tmp_path: Path) -> None:
    spec = ModelSpec(kind="classifier", cell="gru", embedding=6, units=(5,))
    model, texts = model_of(spec), documents(8, 12, 3, 9, 6, 7)
    out, _ = build_batches(
        tmp_path,
        BatchesSpec(batch_size=3, max_buckets=2),
        train=texts,
        validation=texts[:1],
        test=texts,
    )
    split, found = Split(artifact_in(out), "test"), {}
    for one in Scorer(model, spec).batches(split, ids=True):
        found |= dict(
            zip(one.batch.ids, zip(one.logit, one.nats, one.correct, strict=True), strict=True)
        )
    right = []
    for i, text in enumerate(texts):
        logit = float(model({"tokens": np.array([text]), "length": np.array([len(text)])})[0, 0])
        label, probability = sum(text) % 2, 1 / (1 + np.exp(-logit))
        nats = -np.log(probability if label else 1 - probability)
        right.append((probability > 0.5) == label)
        assert found[f"test/{i}"] == (pytest.approx(logit), pytest.approx(nats), right[-1])
    assert Scorer(model, spec).summary(split) == {
        "loss": pytest.approx(np.mean([nats for _, nats, _ in found.values()])),
        "accuracy": np.mean(right),
    }
