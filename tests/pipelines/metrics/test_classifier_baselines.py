"""The baselines of classifiers against what can be counted by hand, and on real reviews."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.counting import linear_training
from pipelines.declaration.spec import EvaluationSpec
from pipelines.metrics.classifier_baselines import baselines
from pipelines.readers.archives import read_members
from pipelines.store.artifacts import Artifact, silent
from tests.conftest import MIRROR, needs_mirror

pytestmark = pytest.mark.slow  # trains

Texts = list[tuple[str, int]]
GOOD, BAD = ("a good film", 1), ("a bad film", 0)
SPEC = EvaluationSpec()


def corpus(folder: Path, **splits: Texts) -> Artifact:
    """A corpus artifact, in shards of 7 documents."""
    (folder / "documents").mkdir(parents=True)
    counts = {}
    for split, some in splits.items():
        counts[split] = {"documents": len(some), "characters": sum(len(text) for text, _ in some)}
        for first in range(0, len(some), 7):
            rows = some[first : first + 7]
            table = {
                "id": [f"{split}-{first + i:05}" for i in range(len(rows))],
                "text": [text for text, _ in rows],
                "label": pa.array([label for _, label in rows], pa.float32()),
            }
            name = f"documents/{split}-{first // 7:04}.parquet"
            pq.write_table(pa.table(table), folder / name)
    files = {f"documents/{path.name}": {} for path in folder.glob("documents/*")}
    return Artifact("corpus", "", folder, {"files": files, "counts": {"splits": counts}})


def predicted(given: Artifact) -> pa.Table:
    """Of a model that finds every test document positive, with probability 0.6; the last ones come
    first."""
    documents = given.table("documents/test-", ["id", "label"]).sort_by([("id", "descending")])
    label = documents["label"].to_numpy()
    nats = -np.log(np.where(label > 0.5, 0.6, 0.4))
    columns = {"id": documents["id"], "label": label, "correct": label > 0.5, "nats": nats}
    return pa.table(columns | {"probability": np.full(len(label), 0.6)})


@pytest.mark.slow
def test_figures_are_of_the_models_documents(tmp_path: Path) -> None:
    """Both baselines learn the one word that matters; the model says positive to all."""
    given = corpus(
        tmp_path, train=[GOOD, BAD] * 20, validation=[GOOD, BAD] * 5, test=[GOOD, *[BAD] * 3] * 6
    )
    found = baselines(given, predicted(given), SPEC, 1, silent)
    assert list(found) == ["NB-SVM", "logistic regression"]
    for one in found.values():
        assert one["accuracy"] == one["roc_auc"] == 1 and one["log_loss"] < 0.2
        assert (one["documents"], one["correct"]) == (24, 24)
        assert one["nats"] == pytest.approx(24 * one["log_loss"])
        assert (one["train_documents"], one["train_documents_left_out"]) == (40, 0)
        accuracy = one["difference"]["accuracy"]
        assert accuracy["effect"] == pytest.approx(0.25 - 1)
        assert -1 <= accuracy["low"] < -0.75 < accuracy["high"] < -0.5
        assert one["difference"]["roc_auc"]["effect"] == pytest.approx(0.5 - 1)
    assert found == baselines(given, predicted(given), SPEC, 1, silent)


@pytest.mark.parametrize(
    ("train", "why"),
    [
        ([GOOD] * 9, "the train split has only one class"),
        ([("", 1), (" \n", 0)] * 5, "there are no words in the train split"),
        ([], "there are no words in the train split"),
    ],
)
def test_what_cannot_be_trained_says_so(tmp_path: Path, train: Texts, why: str) -> None:
    given = corpus(tmp_path, train=train, validation=[GOOD, BAD], test=[GOOD, BAD])
    found = baselines(given, predicted(given), SPEC, 1, silent)
    assert found == {name: {"not_measured": why} for name in ("NB-SVM", "logistic regression")}


def test_documents_without_words_are_scored(tmp_path: Path) -> None:
    given = corpus(
        tmp_path, train=[GOOD, BAD] * 9, validation=[GOOD, BAD], test=[GOOD, ("", 1), ("?", 0)]
    )
    for one in baselines(given, predicted(given), SPEC, 1, silent).values():
        assert one["documents"] == 3 and np.isfinite(one["log_loss"])


def test_a_long_train_split_is_drawn_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the files the first half would have one class."""
    given = corpus(
        tmp_path, train=[GOOD] * 60 + [BAD] * 60, validation=[GOOD, BAD], test=[GOOD, BAD]
    )
    monkeypatch.setattr(linear_training, "MOST_CHARACTERS", 600)
    found = baselines(given, predicted(given), SPEC, 1, silent)["NB-SVM"]
    assert 40 < found["train_documents"] < 80
    assert found["train_documents"] + found["train_documents_left_out"] == 120
    assert found["accuracy"] == 1


@needs_mirror
@pytest.mark.long
def test_a_tenth_of_imdb(tmp_path: Path) -> None:
    """Every tenth review of each part; on all of them NB-SVM labels 91.3% correctly."""
    wanted = re.compile(r"aclImdb/(train|test)/(pos|neg)/\d*([05])_\d+\.txt")
    splits: dict[str, Texts] = {"train": [], "validation": [], "test": []}
    for name, content in read_members(
        MIRROR / "aclImdb_v1.tar.gz", lambda name: wanted.fullmatch(name) is not None
    ):
        if "/unsup/" in name:
            break
        if content is not None:
            part, label, digit = wanted.fullmatch(name).groups()  # type: ignore[union-attr]
            split = part if digit == "0" else "validation" if part == "train" else None
            if split:
                splits[split].append((content.decode(), int(label == "pos")))
    given = corpus(tmp_path, **splits)
    nb_svm = baselines(given, predicted(given), SPEC, 1, silent)["NB-SVM"]
    assert nb_svm["documents"] == 2500
    assert 0.83 < nb_svm["accuracy"] < 0.92
