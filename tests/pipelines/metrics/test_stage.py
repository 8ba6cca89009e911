"""The metrics stage on models that the real stages trained: its figures, its files, its reach."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.spec import EvaluationSpec
from pipelines.declaration.training_section import TrainingSpec
from pipelines.metrics import stage as evaluation
from pipelines.metrics.samples import texts
from pipelines.model import stage as training
from pipelines.model.keras_file import load_model
from pipelines.run.execute import draw_report, execute_stage
from pipelines.stages import stage_named
from pipelines.store.artifacts import Artifact, Workspace
from pipelines.store.settings import Settings
from pipelines.tokens.vocabulary import Vocabulary
from tests.conftest import NEXT_WORD, artifact_in, artifact_of, declared, spec_of
from tests.plain_stages import STAGES, inputs_of

pytestmark = pytest.mark.slow

LANGUAGE_MODELS = [
    "tiny-play",
    pytest.param("speeches", marks=pytest.mark.long),
    pytest.param("next-word", marks=pytest.mark.long),
]
INPUTS = ("model", "batches", "tokens", "corpus")
SPEECHES = """\
title: Tiny speeches
source: {{path: {samples}/play.txt}}
corpus: {{reader: paragraphs, length: [10, 200], split: hash, validation: 0.1, test: 0.2}}
tokens: {{kind: char, end: "*"}}
batches: {{layout: documents, batch_size: 8, max_buckets: 2}}
model: {{kind: language_model, cell: gru, embedding: 6, units: [11]}}
training: {{epochs: 1, learning_rate: 0.02}}
evaluation: {{start: "M", sample_length: 40, temperatures: [1.0], baseline_order: 4,
             slices: [length, speaker]}}
registry: {{metric: bits_per_character, floor: 8.0}}
"""


def metrics_of(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.path / "metrics.json").read_bytes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, trained: Settings) -> Any:
    """`made(name)`: a pipeline's artifacts by stage, source to metrics."""
    folder = tmp_path_factory.mktemp("evaluation")
    found: dict[str, dict[str, Artifact]] = {
        name: {stage.name: artifact_of(trained, name, stage.name) for stage in STAGES[:6]}
        for name in ("tiny-play", "tiny-reviews")
    }

    def run(name: str) -> dict[str, Artifact]:
        if name not in found:
            path = declared(folder, name, {"speeches": SPEECHES, "next-word": NEXT_WORD}[name])
            artifacts: dict[str, Artifact] = {}
            for stage in STAGES[:6]:
                inputs = {given: artifacts[given] for given in inputs_of(stage)}
                artifacts[stage.name] = execute_stage(
                    stage, spec_of(path), inputs, Settings.at(folder)
                ).artifact
            found[name] = artifacts
        return found[name]

    return run


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_language_figures_are_quotients_of_their_sums(made: Any, name: str) -> None:
    artifacts = made(name)
    metrics, counts = metrics_of(artifacts["metrics"]), artifacts["batches"].counts["test"]
    sums, headline = metrics["sums"], metrics["headline"]
    assert sums["tokens"] == counts["predicted"]
    assert sums["characters"] == counts["characters"]
    assert headline["bits_per_character"] == sums["nats"] / sums["characters"] / math.log(2)
    assert headline["nats_per_character"] == sums["nats"] / sums["characters"]
    assert headline["perplexity"] == pytest.approx(math.exp(sums["nats"] / sums["tokens"]))
    assert headline["accuracy"] == sums["correct"] / sums["tokens"]
    rows = pq.read_table(artifacts["metrics"].path / "predictions.parquet").to_pydict()
    for key in ("tokens", "nats", "correct"):
        assert sum(rows[key]) == pytest.approx(sums[key])
    for key in ("tokens", "nats"):
        assert sum(metrics["by_position"][key]) == pytest.approx(sums[key])
    assert artifacts["metrics"].counts == headline


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("tiny-play", 5),
        pytest.param("speeches", 4, marks=pytest.mark.long),
        pytest.param("next-word", 5, marks=pytest.mark.long),
    ],
)
def test_baselines_predict_the_same_tokens(made: Any, name: str, order: int) -> None:
    artifacts = made(name)
    metrics = metrics_of(artifacts["metrics"])
    unigram, longer = (metrics["baselines"][key] for key in ("unigram", f"{order}-gram"))
    for found in (unigram, longer):
        assert found["tokens"] == metrics["sums"]["tokens"]
        assert found["train_tokens"] == artifacts["tokens"].counts["train"]["tokens"]
        assert found["train_tokens_left_out"] == 0
        characters = metrics["sums"]["characters"]
        assert found["bits_per_character"] == found["nats"] / characters / math.log(2)
        for figure, between in found["difference"].items():
            effect = metrics["headline"][figure] - found[figure]
            assert between["effect"] == pytest.approx(effect, rel=1e-9)
            assert between["low"] <= between["effect"] <= between["high"]
    size = artifacts["tokens"].counts["vocabulary"]
    assert longer["perplexity"] < unigram["perplexity"] < size
    assert longer["correct"] > unigram["correct"]


def test_text_is_scored_as_in_one_long_read(made: Any) -> None:
    """The state carried over all rows of the test text equals a single forward pass."""
    artifacts = made("tiny-play")
    shards = sorted((artifacts["tokens"].path / "tokens").glob("test-*.parquet"))
    ids = np.concatenate(
        [pq.read_table(shard)["tokens"].combine_chunks().flatten().to_numpy() for shard in shards]
    ).astype(np.int32)
    model = load_model(artifacts["model"].path / "model.keras")
    logits = model.predict_on_batch(
        {
            "tokens": ids[None, :-1],
            "length": np.array([len(ids) - 1]),
            "state_0": np.zeros((1, 11), np.float32),
        }
    )["logits"][0].astype(np.float64)
    nats = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(ids) - 1), ids[1:]]
    sums = metrics_of(artifacts["metrics"])["sums"]
    assert sums["tokens"] == len(ids) - 1
    assert sums["nats"] == pytest.approx(nats.sum(), rel=1e-6)
    assert sums["correct"] == (logits.argmax(1) == ids[1:]).sum()


@pytest.mark.long
def test_an_end_marker_is_predicted_but_is_no_character(made: Any) -> None:
    artifacts = made("speeches")
    sums, tokens = metrics_of(artifacts["metrics"])["sums"], artifacts["tokens"].counts["test"]
    # Of each speech all but the first character, and its end.
    assert sums["tokens"] == tokens["characters"]
    assert sums["characters"] == tokens["characters"] - tokens["documents"]
    assert tokens["documents"] > 10


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[[dict[str, Artifact]], str]:
    """The text of the report of a pipeline's artifacts."""

    def draw(artifacts: dict[str, Artifact]) -> str:
        inputs = {name: artifacts[name] for name in stage_named("report").reads(artifacts)}
        report = draw_report(inputs, Settings.at(tmp_path))
        return html.unescape((report.path / "report.html").read_text())

    return draw


@pytest.mark.long
def test_the_report_says_what_was_left_out(
    made: Any, page_of: Callable[[dict[str, Artifact]], str]
) -> None:
    artifacts = made("speeches")
    counts = artifacts["corpus"].counts
    page = page_of(artifacts)
    rows = [
        ("kept", counts["kept"]),
        ("quarantined", counts["quarantined"]),
        *counts["reasons"].items(),
        ("left out", sum(counts["left_out"].values())),
        ("too long: more than 200 characters", counts["left_out"]["too long"]),
        ("read", counts["read"]),
    ]
    assert len(counts["left_out"]) == 1 and counts["left_out"]["too long"] > 0
    assert counts["read"] == (
        counts["kept"] + counts["quarantined"] + counts["left_out"]["too long"]
    )
    table = r"\s+".join(rf"{what}\s+{number:,}" for what, number in rows)
    assert re.search(table, re.sub("<[^>]*>", " ", page))


@pytest.mark.long
def test_windows_are_scored_once_each(made: Any) -> None:
    artifacts = made("next-word")
    metrics, tokens = metrics_of(artifacts["metrics"]), artifacts["tokens"].counts["test"]
    assert metrics["sums"]["tokens"] == tokens["tokens"] - 4
    assert 0 < metrics["sums"]["unknown"] <= tokens["unknown"]
    assert [count for count in metrics["by_position"]["tokens"] if count] == [
        metrics["sums"]["tokens"]
    ]  # each after 4 words


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_samples_and_figures_of_generated_text(made: Any, name: str) -> None:
    artifacts = made(name)
    metrics = metrics_of(artifacts["metrics"])
    temperatures = spec_of_evaluation(artifacts).temperatures
    assert [(sample["temperature"], sample["seed"]) for sample in metrics["samples"]] == [
        (temperature, seed) for temperature in temperatures for seed in (1, 2, 3)
    ]
    written = (artifacts["metrics"].path / "samples.txt").read_text(encoding="utf-8")
    for sample in metrics["samples"]:
        assert sample["start"] + sample["text"] in written and "*" not in sample["text"]
    found = metrics["generated"]
    assert list(found["texts"]) == [*(f"{t:g}" for t in temperatures), "held_out"]
    assert found["unit"] == "words" and found["units"] > 100
    for figures in found["texts"].values():
        assert figures["known"]["of"] == figures["distinct_1"]["of"] == found["units"]
        for figure in figures.values():
            assert figure["share"] == figure["count"] / figure["of"]
    train = "\n".join(
        texts(
            artifacts["corpus"], "train", Vocabulary.load(artifacts["tokens"].path / "vocabulary")
        )
    )
    assert list(found["longest_copy"]) == list(found["texts"])
    for copy in found["longest_copy"].values():
        assert len(copy["passage"]) == copy["characters"] > 3 and copy["passage"] in train
    known = found["texts"]["1"]["known"]["share"]
    assert known == 1 if name == "next-word" else 0 < known < 1


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("tiny-play", ["part", "speaker"]),
        pytest.param("speeches", ["length", "speaker"], marks=pytest.mark.long),
        pytest.param("next-word", ["unknown_rate", "group"], marks=pytest.mark.long),
    ],
)
def test_slices_of_a_kind_are_the_whole_test_text(made: Any, name: str, kinds: list[str]) -> None:
    metrics = metrics_of(made(name)["metrics"])
    assert list(metrics["slices"]) == kinds
    for rows in metrics["slices"].values():
        for key in ("tokens", "nats", "unknown", "characters"):
            assert sum(row[key] for row in rows) == pytest.approx(metrics["sums"][key], rel=1e-3)
        for row in rows:
            assert row["bits_per_character"] == pytest.approx(
                row["nats"] / row["characters"] / math.log(2)
            )
            assert (row["low"] is None) == (row["segments"] < 10)
            assert row["low"] is None or row["low"] <= row["bits_per_character"] <= row["high"]


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_every_figure_of_a_language_model_has_an_interval(
    made: Any, page_of: Callable[[dict[str, Artifact]], str], name: str
) -> None:
    metrics = metrics_of(made(name)["metrics"])
    found = metrics["intervals"]
    assert found["confidence"] == 0.95 and found["block"] >= 1
    for figure in ("bits_per_character", "nats_per_character", "perplexity"):
        low, high, value = (
            found[figure]["low"],
            found[figure]["high"],
            metrics["headline"][figure],
        )
        assert low < value < high < low * 2.5
    page = page_of(made(name))
    assert "{low:.3f} to {high:.3f})".format(**found["bits_per_character"]) in page


def spec_of_evaluation(artifacts: dict[str, Artifact]) -> EvaluationSpec:
    config = artifacts["metrics"].manifest["config"]
    return EvaluationSpec(
        **{
            key.removeprefix("evaluation."): value
            for key, value in config.items()
            if key.startswith("evaluation.")
        }
    )


def test_classifier_figures_are_those_of_the_predictions(made: Any) -> None:
    artifacts = made("tiny-reviews")
    metrics = metrics_of(artifacts["metrics"])
    rows = pq.read_table(artifacts["metrics"].path / "predictions.parquet").to_pandas()
    assert len(rows) == artifacts["tokens"].counts["test"]["documents"]
    assert rows["id"].is_monotonic_increasing and rows["id"].is_unique
    coded = artifacts["tokens"].table("tokens/test-", ["id", "length", "truncated"]).to_pandas()
    coded = coded.set_index("id").loc[rows["id"]]
    assert (coded["truncated"] > 0).any(), "no document is cut"
    assert list(rows["length"]) == list(coded["length"] + coded["truncated"])
    given = np.where(rows["label"] == 1, rows["probability"], 1 - rows["probability"])
    assert metrics["sums"] == {
        "documents": len(rows),
        "correct": int((given > 0.5).sum()),
        "nats": pytest.approx(-np.log(given).sum()),
    }
    assert sum(metrics["confusion"].values()) == len(rows)
    for name in ("length", "unknown_rate"):
        for key, total in metrics["sums"].items():
            assert sum(row[key] for row in metrics["slices"][name]) == pytest.approx(total)


def test_baselines_label_the_same_documents(made: Any) -> None:
    artifacts = made("tiny-reviews")
    metrics = metrics_of(artifacts["metrics"])
    for found in metrics["baselines"].values():
        assert found["documents"] == metrics["sums"]["documents"]
        assert found["train_documents"] == artifacts["tokens"].counts["train"]["documents"]
        assert found["accuracy"] > 0.75 and found["log_loss"] < 0.5
        for figure, between in found["difference"].items():
            effect = metrics["headline"][figure] - found[figure]
            assert between["effect"] == pytest.approx(effect)
            assert between["low"] <= between["effect"] <= between["high"]


@pytest.mark.parametrize("name", ["tiny-play", "tiny-reviews"])
def test_again_the_same_bytes(made: Any, name: str, tmp_path: Path) -> None:
    artifacts = made(name)
    config = {
        "evaluation": spec_of_evaluation(artifacts),
        "seed": 1,
        "training.backend": "tensorflow",
        "training.threads": 2,
    }
    evaluation.build(
        {stage: artifacts[stage] for stage in INPUTS},
        config,
        Workspace(tmp_path, tmp_path, tmp_path),
    )
    for file in artifacts["metrics"].manifest["files"]:
        assert (tmp_path / file).read_bytes() == (artifacts["metrics"].path / file).read_bytes(), (
            file
        )


@pytest.mark.parametrize(
    "name", ["tiny-play", pytest.param("tiny-reviews", marks=pytest.mark.long)]
)
def test_training_does_without_the_test_split(made: Any, name: str, tmp_path: Path) -> None:
    artifacts = made(name)
    batches = tmp_path / "batches"
    shutil.copytree(artifacts["batches"].path, batches)
    shutil.rmtree(batches / "batches" / "test")
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir(), scratch.mkdir()
    model = json.loads((artifacts["model"].path / "model.json").read_bytes())["model"]
    config = {
        "model": ModelSpec.model_validate(model),
        "seed": 1,
        "training": TrainingSpec(epochs=2, learning_rate=0.02),
    }
    training.build({"batches": artifact_in(batches)}, config, Workspace(out, scratch, tmp_path))
    for file in ("model.keras", "history.parquet"):
        assert (out / file).read_bytes() == (artifacts["model"].path / file).read_bytes()
