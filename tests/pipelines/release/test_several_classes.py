"""A pipeline of five classes, from a table to a second version, by real stages."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

import folio
from pipelines.errors import FolioError
from pipelines.export.export import export
from pipelines.release.fair_comparison import _other_labels
from pipelines.report.stage_pages import pages
from pipelines.run.retraining import retrain_plain
from pipelines.scoring.score_file import RegisteredModel, score_file
from pipelines.scoring.score_order import Order
from pipelines.serving.predictor import NUMPY, Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.conftest import artifact_of, made_once, retrained, spec_of

pytestmark = pytest.mark.long

NAME, TEXTS = "topics", ["goal team match", "rain and snow", "", "oven"]
WORDS = {
    "film": "actor scene plot camera screen",
    "food": "soup bread oven cook butter",
    "sport": "goal team match coach score",
    "travel": "train hotel island ticket border",
    "weather": "rain storm cloud wind snow",
}
LABELS = list(WORDS)
TOPICS = """\
name: topics
source: {path: topics.csv}
corpus: {reader: csv, split: hash, validation: 0.2, test: 0.25, label_column: topic}
tokens: {kind: word, max_tokens: 40}
batches: {batch_size: 16, max_buckets: 2}
model: {kind: classifier, cell: gru, embedding: 12, units: [8], pool: mean}
training: {epochs: 10, learning_rate: 0.05}
evaluation: {slices: [length]}
registry: {metric: macro_f1, floor: 0.3}
"""
STAGES = ("corpus", "tokens", "batches", "model", "metrics", "release", "report")


def rows(count: int, shares: tuple[int, ...] = (1, 1, 1, 1, 1), seed: int = 1) -> list[list[str]]:
    chance = random.Random(seed)
    found = []
    for number in range(count):
        topic = chance.choices(LABELS, shares)[0]
        own = [chance.choice(WORDS[topic].split()) for _ in range(4)]
        other = [chance.choice(WORDS[chance.choice(LABELS)].split()) for _ in range(2)]
        label = topic if number % 10 else chance.choice(LABELS)  # some are mistaken
        found.append([" ".join([*own, *other, f"and {number + 10_000 * seed}"]), label])
    return found


def topics(folder: Path, found: list[list[str]], text: str = TOPICS) -> Path:
    with (folder / "topics.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["text", "topic"], *found])
    (folder / f"{NAME}.yaml").write_text(text, encoding="utf-8")
    return folder / f"{NAME}.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return topics(tmp_path_factory.mktemp("topics"), rows(400))


@pytest.fixture(scope="module")
def home(shared: Path, empty_registry: Path, data: Path) -> Settings:
    """In which the pipeline has run. Read only."""
    return Settings.at(made_once(shared / "topics", retrained(empty_registry, data)))


def read(home: Settings, stage: str, name: str) -> dict[str, Any]:
    return json.loads((artifact_of(home, NAME, stage).path / name).read_bytes())


def test_figures_are_those_of_the_predictions(home: Settings) -> None:
    metrics = read(home, "metrics", "metrics.json")
    table = pq.read_table(artifact_of(home, NAME, "metrics").path / "predictions.parquet")
    label, said, confidence = (
        table[name].to_numpy() for name in ("label", "predicted", "confidence")
    )
    logit = np.array(table["logit"].to_pylist()) / metrics["calibration"]["temperature"]
    chance = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    assert (chance.argmax(axis=1) == said).all()
    assert chance.max(axis=1) == pytest.approx(confidence)
    figures = metrics["headline"]
    assert list(figures) == ["accuracy", "log_loss", "macro_f1"]
    assert figures["accuracy"] == (label == said).mean() > 0.6
    assert figures["log_loss"] == pytest.approx(log_loss(label, chance))
    expected = precision_recall_fscore_support(label, said, average=None)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert [row[name]["value"] for row in metrics["classes"]] == pytest.approx(list(values))
    assert figures["macro_f1"] == pytest.approx(expected[2].mean())
    spread = metrics["intervals"]["macro_f1"]
    assert spread["low"] < figures["macro_f1"] < spread["high"]
    cells = np.zeros((5, 5), int)
    for true, predicted, documents in metrics["confusion"]:
        cells[true, predicted] = documents
    assert (cells == confusion_matrix(label, said)).all()
    assert [row["label"] for row in metrics["classes"]] == metrics["labels"] == LABELS
    scaled = metrics["calibration"]
    assert scaled["after"]["log_loss"] == pytest.approx(figures["log_loss"])
    assert sum(row["documents"] for row in metrics["slices"]["length"]) == len(label)
    for one in metrics["baselines"].values():
        assert one["accuracy"] > 0.6 and 0 < one["log_loss"] < np.log(5)
        effect = one["difference"]["macro_f1"]["effect"]
        assert effect == pytest.approx(figures["macro_f1"] - one["macro_f1"])


def test_the_labels_go_from_the_corpus_into_the_package(home: Settings) -> None:
    assert artifact_of(home, NAME, "corpus").counts["labels"] == LABELS
    assert artifact_of(home, NAME, "tokens").counts["classes"] == 5
    release = read(home, "release", "release.json")
    assert (release["verdict"], release["metric"]) == ("promote", "macro_f1")
    assert Predictor.load(load_champion(home.home, NAME), NUMPY).labels == LABELS


def test_answers_have_all_probabilities(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLIO_HOME", str(home.home))
    found = folio.load(NAME).predict(TEXTS)
    for row in (found[0], found[1], found[3]):
        assert list(row) == ["text", "label", "probability", "probabilities"]
        assert list(row["probabilities"]) == LABELS
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["probability"] == max(row["probabilities"].values())
        assert row["probabilities"][row["label"]] == row["probability"]
    assert [row["label"] for row in found] == ["sport", "weather", None, "food"]
    assert found[2]["error"] == "the text is empty" and found[2]["probabilities"] is None
    own = Predictor.load(load_champion(home.home, NAME), NUMPY).predict(TEXTS[:1])[0]
    assert own["probabilities"] == pytest.approx(found[0]["probabilities"], abs=1e-5)


@pytest.mark.parametrize("every", [False, True])
def test_a_scored_file_has_the_best_label_or_all(
    home: Settings, tmp_path: Path, every: bool
) -> None:
    topics(tmp_path, [*rows(60, seed=7), ["", "film"]])
    classifier = RegisteredModel.find(home.home, NAME)
    out = tmp_path / "out.parquet"
    summary = score_file(classifier, Order(tmp_path / "topics.csv", out, every=every))
    scored = pq.read_table(out)
    each = [f"probability_{label}" for label in LABELS] if every else []
    assert scored.column_names == ["text", "topic", "label", "probability", "error", *each]
    assert list(summary["labels"]) == LABELS and sum(summary["labels"].values()) == 60
    assert summary["errors"] == {"the text is empty": 1}
    for row, one in zip(
        scored.to_pylist(),
        classifier.predictor(light=True).predict(scored["text"].to_pylist()),
        strict=True,
    ):
        assert (row["label"], row["probability"]) == (one["label"], one["probability"])
        if every and row["label"]:
            shares = {label: row[f"probability_{label}"] for label in LABELS}
            assert shares == pytest.approx(one["probabilities"])
    measures = [one["measure"] for one in summary["drift"]["measures"]]
    assert measures[2] == "median probability of the predicted label"
    assert measures[3].startswith("shares of the labels, most of ")


def test_mlflow_loads_it_without_folio(home: Settings, tmp_path: Path) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import mlflow, pandas
model = mlflow.pyfunc.load_model(sys.argv[2])
made = model.predict(pandas.DataFrame({"text": ["goal team match", ""]}))
assert sys.modules["pipelines"].__path__[0].startswith(sys.argv[2])
print("RESULT", made.to_json(orient="records"), model.metadata.signature.outputs.input_names())
"""
    export(home.home, NAME, None, tmp_path / NAME)
    site = sysconfig.get_paths()["purelib"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, site, str(tmp_path / NAME)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    answers, names = line.removeprefix("RESULT ").rsplit(" [", 1)
    assert names == "'label', 'probability', 'probabilities', 'error']"
    first, second = json.loads(answers)
    assert first["label"] == "sport" and list(first["probabilities"]) == LABELS
    assert second["label"] is None and second["error"] == "the text is empty"


def test_the_pages_show_every_class(home: Settings) -> None:
    inputs = {stage: artifact_of(home, NAME, stage) for stage in STAGES}
    report = (inputs["report"].path / "report.html").read_text(encoding="utf-8")
    for text in ("Macro F1", "1.609 is random guessing", "What is confused most", "correct</th>"):
        assert text in report, text
    assert all(report.count(f">{label}<") >= 3 for label in LABELS)
    (figures,) = pages(inputs["metrics"], inputs)
    assert "data:image/png" in figures.text and "| truly | predicted |" in figures.text
    (documents,) = pages(inputs["corpus"], inputs)
    train = inputs["corpus"].counts["splits"]["train"]["by_label"]
    assert f"| film | {train[0]}" in documents.text


def test_a_second_version_on_other_text_is_compared_and_has_drifted(
    home: Settings, tmp_path: Path
) -> None:
    shutil.copytree(home.home, tmp_path / "home")
    again = Settings.at(tmp_path / "home")
    (tmp_path / "data").mkdir()
    path = topics(tmp_path / "data", rows(400, (1, 1, 1, 1, 12), seed=2))
    record = retrain_plain(str(path), settings=again, notice=lambda text: None)
    drift = next(one for one in record["drift"]["measures"] if one["measure"].startswith("shares"))
    assert drift["drifted"] and drift["measure"] == "shares of the labels, most of weather"
    evidence = read(again, "release", "release.json")["evidence"]
    assert evidence["rescored"] and evidence["metric"] == "macro_f1"
    assert list(evidence["others"]) == ["accuracy", "log_loss"]
    assert evidence["low"] <= evidence["effect"] <= evidence["high"]
    unmet = ("registry.class_floor={art: 0.5}", "training.learning_rate=0.04")
    third = retrain_plain(str(path), overrides=unmet, settings=again, notice=lambda text: None)
    reason = "there is a floor for the recall of class art, which is not a label"
    assert (third["verdict"], third["reason"], third["version"]) == ("reject", reason, 3)


def test_why_models_of_other_labels_are_not_compared() -> None:
    five, six = tuple(LABELS), (*LABELS, "art")
    assert _other_labels(five, six) == "it knows no 'art'"
    assert _other_labels(six, five) == "it also knows 'art'"
    assert _other_labels(five, five[::-1]) == "its labels have another order"
    assert _other_labels(("a", "b"), five) == "it distinguishes a from b"
    assert "knows no 'a', 'b', 'c', … and also knows" in _other_labels(five, tuple("abcdef"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("mix=nb-svm",), "mix: nb-svm is a weighted sum of two logits"),
        (("evaluation.threshold=best",), "evaluation.threshold: it is for two labels"),
    ],
)
def test_what_is_for_two_labels_is_refused(
    home: Settings, data: Path, tmp_path: Path, changes: tuple[str, ...], message: str
) -> None:
    """By the stage that knows how many there are."""
    shutil.copytree(home.home, tmp_path / "home")
    with pytest.raises(FolioError, match=message) as caught:
        retrain_plain(
            str(data),
            overrides=changes,
            settings=Settings.at(tmp_path / "home"),
            notice=lambda text: None,
        )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("mix=nb-svm", "mix: nb-svm is a weighted sum"),
        ("evaluation.threshold=best", "evaluation.threshold: it is for two labels"),
        ("registry.metric=roc_auc", "registry.metric: roc_auc is for two labels; use macro_f1"),
        ("registry.class_floor={art: 0.5}", "registry.class_floor: 'art' is not in corpus.labels"),
        (
            "training={loop: custom, adversarial: {kind: virtual}}",
            "training.adversarial.kind: virtual is for two labels; use adversarial",
        ),
    ],
)
def test_declared_labels_are_checked_before_anything_runs(
    tmp_path: Path, change: str, message: str
) -> None:
    declared = TOPICS.replace("label_column: topic", f"label_column: topic, labels: {LABELS}")
    path = topics(tmp_path, rows(4), declared)
    assert spec_of(path).corpus.labels == tuple(LABELS)
    with pytest.raises(folio.UsageError, match=message):
        spec_of(path, change)
