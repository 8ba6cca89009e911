"""Releases into a real MLflow registry; the trained home's models are what is released."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.baselines import baseline_line
from pipelines.declaration.spec import RegistrySpec
from pipelines.errors import FolioError
from pipelines.export.export import export
from pipelines.files.digests import digest_file, digest_json
from pipelines.registry.champions import journal_of
from pipelines.registry.lookup import champions, list_models
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import (
    Version,
    asked,
    download_folder,
    fetched,
    is_within,
    versions,
)
from pipelines.release.stage import build
from pipelines.serving.mlflow_model import ServedModel
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.artifacts import Artifact, Workspace
from pipelines.store.fingerprint import library_version
from pipelines.store.settings import Settings
from tests.conftest import artifact_of, republished

pytestmark = pytest.mark.slow

REVIEWS, PLAY = "tiny-reviews", "tiny-play"
NAME = "films"
ACCURACY = RegistrySpec(metric="accuracy", floor=0.3)


@pytest.fixture
def home(empty_registry: Path, tmp_path: Path) -> Path:
    return shutil.copytree(empty_registry, tmp_path / "home")


Release = Callable[..., dict[str, Any]]


@pytest.fixture
def release(trained: Settings, home: Path, tmp_path: Path) -> Release:
    """`release(accuracy, sample=…)`: the trained classifier, with that accuracy measured."""

    def run(
        accuracy: float | None, *, sample: bool = False, spec: RegistrySpec = ACCURACY
    ) -> dict[str, Any]:
        return released(inputs_of(trained, accuracy, home), spec, home, tmp_path, sample)

    return run


def inputs_of(trained: Settings, accuracy: float | None, home: Path) -> dict[str, Artifact]:
    """The trained classifier's artifacts, but metrics that say that accuracy."""
    inputs = {name: artifact_of(trained, REVIEWS, name) for name in ("model", "tokens", "corpus")}
    return inputs | {
        "metrics": measured(artifact_of(trained, REVIEWS, "metrics"), accuracy, home / "store")
    }


def measured(metrics: Artifact, accuracy: float | None, store: Path) -> Artifact:
    """An artifact in `store`: predictions of 4,000 documents, that share of them right."""
    path = store / "metrics" / digest_json([metrics.key, accuracy])
    path.mkdir(parents=True, exist_ok=True)
    (path / "metrics.json").write_text(
        json.dumps({"kind": "classifier", "headline": {"accuracy": accuracy, "log_loss": 0.6}})
    )
    label = np.arange(4000) % 2
    correct = np.arange(4000) < 4000 * (accuracy or 0)
    pq.write_table(
        pa.table(
            {
                "id": [f"{i:04}" for i in range(4000)],
                "label": label.astype(np.float32),
                "probability": np.where(correct == label, 0.6, 0.4),
                "correct": correct,
                "nats": -np.log(np.where(correct, 0.6, 0.4)),
            }
        ),
        path / "predictions.parquet",
    )
    files = {
        name: {"bytes": (path / name).stat().st_size, "sha256": digest_file(path / name)}
        for name in ("metrics.json", "predictions.parquet")
    }
    (path / "manifest.json").write_text(json.dumps(metrics.manifest))
    return republished(
        path,
        lambda manifest: manifest.update(
            files=files, inputs=(manifest["inputs"] | {"accuracy": str(accuracy)})
        ),
    )


def released(
    inputs: dict[str, Artifact], spec: RegistrySpec, home: Path, folder: Path, sample: bool = False
) -> dict[str, Any]:
    config = {
        "registry": spec,
        "name": NAME,
        "sample": sample,
        "corpus.labels": ("negative", "positive"),
    }
    number = len(list(folder.glob("out-*")))
    work = Workspace(folder / f"out-{number}", folder / f"scratch-{number}", home)
    work.out.mkdir()
    work.scratch.mkdir()
    counts = build(inputs, config, work)
    result = json.loads((work.out / "release.json").read_bytes())
    assert counts == {
        name: result[name] for name in ("version", "verdict", "package", "registered")
    }
    return result


def aliases(home: Path) -> dict[int, list[str]]:
    (model,) = list_models(home, NAME)
    return {version["version"]: version["aliases"] for version in model["versions"]}


def test_the_first_version_is_champion(release: Release, home: Path) -> None:
    (made, told) = release(0.7), versions(home, NAME)[0]
    assert made == {
        "name": NAME,
        "version": 1,
        "verdict": "promote",
        "reason": "accuracy 0.7; there was no champion",
        "champion": 1,
        "metric": "accuracy",
        "value": 0.7,
        "champion_value": None,
        "evidence": None,
        "sample": False,
        "package": told.tags["folio.package"],
        "registered": told.created,
        "mlflow_run": told.run,
        "uri": f"models:/{NAME}@champion",
        "floor": 0.3,
        "margin": 0.0,
        "before": None,
        "drift": None,
    }
    assert aliases(home) == {1: ["challenger", "champion"]}
    assert champions(home)[NAME]["version"] == 1


def test_the_better_one_becomes_champion(release: Release, home: Path) -> None:
    release(0.7)
    worse, better = release(0.6), release(0.8)
    assert (worse["version"], worse["verdict"], worse["champion"]) == (2, "reject", 1)
    assert worse["reason"].startswith("accuracy 0.6 is worse than 0.7 of champion version 1: -0.1")
    assert worse["champion_value"] == 0.7 and worse["evidence"]["high"] < 0
    first = {"version": 1, "figures": {"accuracy": 0.7, "log_loss": 0.6}}
    assert worse["before"] == better["before"] == first
    gone = "what it was trained on is no longer in the store"  # of this test's home
    assert better["drift"] == {"version": 1, "not_compared": gone}
    assert (better["version"], better["verdict"], better["champion"]) == (3, "promote", 3)
    assert aliases(home) == {1: [], 2: [], 3: ["challenger", "champion"]}


def test_a_rejected_one_is_challenger(release: Release, home: Path) -> None:
    release(0.7)
    release(0.5)
    assert aliases(home) == {1: ["champion"], 2: ["challenger"]}


def test_the_floor_keeps_the_first_one_out(release: Release, home: Path) -> None:
    low = release(0.2)
    assert (low["verdict"], low["champion"]) == ("reject", None)
    assert low["uri"] == f"models:/{NAME}@challenger"
    with pytest.raises(FolioError, match=r"no version is champion \(registered: 1\).*--version"):
        load_champion(home, NAME)
    assert load_champion(home, NAME, 1).is_dir()


def test_a_floor_of_the_best_baseline(trained: Settings, home: Path, tmp_path: Path) -> None:
    """The tiny network is behind NB-SVM. What earlier versions measured has no baselines."""
    names = ("model", "tokens", "corpus", "metrics")
    inputs = {name: artifact_of(trained, REVIEWS, name) for name in names}
    spec = RegistrySpec(metric="accuracy", floor="baseline")
    found = released(inputs, spec, home, tmp_path, False)
    assert found["verdict"] == "reject" and aliases(home) == {1: ["challenger"]}
    document = json.loads((inputs["metrics"].path / "metrics.json").read_bytes())
    best = document["baselines"]["NB-SVM"]["accuracy"]
    assert f" is worse than {best:.6g} of its best baseline, NB-SVM: -" in found["reason"]
    earlier = released(inputs_of(trained, 0.9, home), spec, home, tmp_path, False)
    assert earlier["verdict"] == "reject" and "measured without baselines" in earlier["reason"]
    (model,) = list_models(home)
    lines = [version["baseline"] for version in model["versions"]]
    assert lines == [baseline_line(document), None] and lines[0].startswith("behind NB-SVM by ")


def test_samples_serve_only_until_there_is_a_real_model(release: Release, home: Path) -> None:
    assert release(0.1, sample=True)["verdict"] == "promote"
    assert champions(home)[NAME]["sample"] is True
    assert release(0.5)["champion"] == 2
    assert release(0.99, sample=True)["champion"] == 2
    assert [v["sample"] for v in list_models(home)[0]["versions"]] == [True, False, True]


def test_the_same_model_is_registered_once(release: Release, home: Path) -> None:
    release(0.7)
    again = release(0.7)
    assert (again["version"], again["verdict"]) == (1, "promote")
    assert again["reason"] == "accuracy 0.7: version 1 is already the champion"
    release(0.6)
    judged = release(0.6, spec=RegistrySpec(metric="accuracy", floor=0.65))
    assert len(list(journal_of(home).lines(NAME))) == 4
    assert release(0.6, spec=RegistrySpec(metric="accuracy", floor=0.65)) == judged
    assert len(list(journal_of(home).lines(NAME))) == 4
    assert (judged["version"], judged["reason"]) == (2, "accuracy 0.6 is below the floor of 0.65")
    assert aliases(home) == {1: ["champion"], 2: ["challenger"]}
    assert list_models(home)[0]["versions"][1]["reason"] == judged["reason"]


def test_a_version_whose_files_are_gone_is_registered_anew(release: Release, home: Path) -> None:
    release(0.7)
    shutil.rmtree(home / "mlflow" / "artifacts")
    with pytest.raises(FolioError, match=f"folio run {NAME} --only release"):
        load_champion(home, NAME)
    assert release(0.7)["version"] == 2
    assert load_champion(home, NAME, 2).is_dir()


def test_tags_tell_the_lineage(release: Release, home: Path, trained: Settings) -> None:
    release(0.7)
    with mlflow_at(home) as (mlflow, client):
        version = client.get_model_version(NAME, "1")
        run = mlflow.get_run(version.run_id)
    shown = [key for key in version.tags if key.endswith((".key", ".digest"))]
    assert not shown and len(run.data.tags) < 15, (shown, run.data.tags)
    (version,) = versions(home, NAME)
    assert version.run == run.info.run_id
    for stage in ("source", "corpus", "tokens", "batches", "model"):
        assert version.tags[f"folio.{stage}.key"] == artifact_of(trained, REVIEWS, stage).key
    digest = artifact_of(trained, REVIEWS, "source").digest
    assert version.tags["folio.source.digest"] == digest
    assert version.tags["folio.profile"] == "full" and version.tags["folio.run"]
    assert version.tags["folio.sample"] == "false"
    assert run.data.metrics["accuracy"] == 0.7
    assert run.data.params["model.embedding"] == "6"


def test_the_package_answers(release: Release, home: Path) -> None:
    release(0.7)
    predictor = Predictor.load(load_champion(home, NAME))
    assert predictor.labels == ["negative", "positive"]
    assert predictor.predict(["fine"])[0]["label"] in predictor.labels


def test_a_deleted_version_is_noticed(release: Release, home: Path) -> None:
    release(0.7)
    release(0.6)
    with mlflow_at(home) as (_, client):
        client.delete_model_version(NAME, "1")
    with pytest.raises(FolioError, match="there is no version 1; registered: 2"):
        load_champion(home, NAME, 1)
    assert champions(home) == {}


def test_an_alias_moved_in_mlflow_is_followed(release: Release, home: Path) -> None:
    release(0.7)
    release(0.6)
    with mlflow_at(home) as (_, client):
        client.set_registered_model_alias(NAME, "champion", "2")
    assert champions(home)[NAME]["version"] == 2
    assert load_champion(home, NAME) == load_champion(home, NAME, 2) != load_champion(home, NAME, 1)
    assert release(0.65)["champion_value"] == 0.6


@pytest.mark.parametrize("tag", ["folio.figures", "folio.evidence", "folio.sample"])
@pytest.mark.parametrize("value", ["", "{", "[]", "17", '{"accuracy": "high"}', '{"effect": []}'])
def test_a_tag_that_somebody_edited_hides_no_version(
    trained: Settings, home: Path, tag: str, value: str
) -> None:
    database = home / "mlflow" / "mlflow.db"
    shutil.copyfile(trained.home / "mlflow" / "mlflow.db", database)
    with sqlite3.connect(database) as changed:
        changed.execute(
            "UPDATE model_version_tags SET value = ? WHERE key = ? AND name = ?",
            (value, tag, REVIEWS),
        )
    edited, other = champions(home)[REVIEWS], champions(home)[PLAY]
    assert other["value"] is not None and edited["version"] == 1
    assert edited["evidence"] is None and edited["sample"] is False
    assert (edited["value"] is None) == (tag == "folio.figures")


def test_a_registry_names_no_folder_outside(tmp_path: Path) -> None:
    version = Version("../../../x", 1, "2026-11-01T00:00:00Z", "models:/x/1")
    with pytest.raises(FolioError, match="not a valid name of a Folio model"):
        download_folder(tmp_path, version)
    inside = f"{tmp_path}/mlflow/artifacts/x"
    assert is_within(tmp_path, replace(version, location=inside))
    for place in (f"{tmp_path}/mlflow/../store", f"{tmp_path}/mlflow", f"file://{tmp_path}"):
        assert not is_within(tmp_path, replace(version, location=place))


def test_nothing_registered(home: Path, tmp_path: Path) -> None:
    for place in (home, tmp_path / "never-used"):
        assert list_models(place) == [] and champions(place) == {}
        with pytest.raises(FolioError, match=f"train one with: folio run {NAME}"):
            load_champion(place, NAME)
    assert not (tmp_path / "never-used").exists()


def test_a_database_that_is_none_is_named(home: Path) -> None:
    path = home / "mlflow" / "mlflow.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(FolioError, match=f"{path}: not an MLflow database"):
        champions(home)


def test_asking_does_not_import_mlflow(trained: Settings) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.registry.lookup import *; "
        "from pipelines.serving.registered import load_champion; "
        "home = Path(sys.argv[1]); assert len(champions(home)) == len(list_models(home)) == 2; "
        "load_champion(home, 'tiny-play'); "
        "print([m for m in ('mlflow', 'keras', 'polars', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(trained.home)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_what_sqlite_says_is_what_mlflow_says(release: Release, home: Path) -> None:
    release(0.7)
    release(0.8, sample=True)
    with mlflow_at(home) as (_, client):
        assert (
            asked(client, home)
            == asked(client, home, NAME)
            == versions(home, NAME)
            == versions(home)
        )
        assert asked(client, home, "another") == versions(home, "another") == []


def test_a_model_on_another_machine_is_fetched_once(release: Release, home: Path) -> None:
    release(0.7)
    (version,) = versions(home, NAME)
    elsewhere = replace(version, location=f"models:/{NAME}/1")
    assert elsewhere.folder is None
    folder = fetched(home, elsewhere)
    assert home / "mlflow" / "downloads" == folder.parent
    assert Predictor.load(folder / "data" / "package").kind == "classifier"
    (folder / "mark").touch()
    assert (fetched(home, elsewhere) / "mark").exists()
    assert list(folder.parent.iterdir()) == [folder]


def test_a_database_without_tables_is_repaired_by_mlflow(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "mlflow.db").touch()  # what a kill at the very beginning leaves
    assert champions(tmp_path) == {}


def test_releases_at_the_same_time_leave_one_champion(
    trained: Settings, home: Path, tmp_path: Path
) -> None:
    def run(accuracy: float) -> dict[str, Any]:
        folder = tmp_path / str(accuracy)
        folder.mkdir()
        return released(inputs_of(trained, accuracy, home), ACCURACY, home, folder)

    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(run, (0.5, 0.7, 0.6)))
    assert sorted(one["version"] for one in done) == [1, 2, 3]
    assert champions(home)[NAME]["value"] == 0.7
    assert list(journal_of(home).problems()) == []


def test_a_release_is_silent_and_leaves_nothing_set(
    release: Release,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    settings = {key: value for key, value in os.environ.items() if key.endswith("_URI")}
    level = logging.getLogger("mlflow").level
    release(0.7)
    assert capfd.readouterr() == ("", "")
    assert (mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None) == before
    assert {key: value for key, value in os.environ.items() if key.endswith("_URI")} == settings
    assert logging.getLogger("mlflow").level == level
    assert not (tmp_path / "mlruns").exists() and not (tmp_path / "mlflow.db").exists()


def test_the_registry_may_be_elsewhere(
    release: Release, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    shutil.copyfile(home / "mlflow" / "mlflow.db", elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    release(0.7)
    assert champions(home)[NAME]["version"] == 1
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert champions(home) == {}


def test_a_server_that_does_not_answer_is_one_line(
    release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(FolioError, match=r"^MLflow at http://127.0.0.1:9: ") as caught:
        release(0.7)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.long
def test_mlflow_loads_it_without_folio(trained: Settings, tmp_path: Path) -> None:
    """In a process that sees the installed libraries, but neither this folder nor its packages."""
    code = """
import sys
sys.path.insert(0, sys.argv[1])
import importlib.util
assert importlib.util.find_spec("pipelines") is None
import mlflow, pandas
frame = pandas.DataFrame({"text": ["fine", "", "dull and long"]}, index=[5, 6, 7])
reviews = mlflow.pyfunc.load_model(sys.argv[2] + "/tiny-reviews").predict(frame)
play = mlflow.pyfunc.load_model(sys.argv[2] + "/tiny-play")
frame = pandas.DataFrame({"text": ["MARIAN:", "\u732b"]})
written = play.predict(frame, params={"length": 12, "seed": 3})
assert sys.modules["pipelines"].__path__[0].startswith(sys.argv[2])
print("RESULT", reviews.to_json(orient="split"), written.to_json(orient="split"), sep="\\t")
"""
    for name in (REVIEWS, PLAY):
        export(trained.home, name, None, tmp_path / name)
    site = sysconfig.get_paths()["purelib"]  # without its .pth files, so without this project
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, site, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    reviews, written = (json.loads(part) for part in line.split("\t")[1:])
    assert reviews["columns"] == ["label", "probability", "positive_probability", "error"]
    assert reviews["index"] == [5, 6, 7]
    predictor = Predictor.load(load_champion(trained.home, REVIEWS))
    expected = predictor.predict(["fine", "", "dull and long"])
    for row, told in zip(reviews["data"], expected, strict=True):
        assert (row[0], row[3]) == (told["label"], told.get("error"))
        assert row[1] == pytest.approx(told["probability"], abs=1e-6)
    play = Predictor.load(load_champion(trained.home, PLAY))
    assert written["data"][0][0] == play.next_tokens("MARIAN:", 1)[0]["token"]
    assert written["data"][0][2] == play.generate(["MARIAN:"], 12, 0.8, 3)[0]["text"]
    assert "does not know '猫'" in written["data"][1][3]


def test_what_is_served_is_json_whatever_is_asked(trained: Settings) -> None:
    import pandas as pd
    from mlflow.pyfunc.scoring_server import predictions_to_json

    served = ServedModel(Predictor.load(load_champion(trained.home, REVIEWS)))
    texts = ["fine", "", None, 3, float("nan"), "word " * 2_000_000]
    for given, errors in (
        (
            texts,
            [
                None,
                "the text is empty",
                "there is no text",
                "not a text but int",
                "there is no text",
                None,
            ],
        ),
        (["fine", None], [None, "there is no text"]),
        (["fine"], [None]),
        ([None], ["there is no text"]),
        ([], []),
    ):
        told = served.predict(pd.DataFrame({"text": given}))
        out = io.StringIO()
        predictions_to_json(told, out)
        rows = json.loads(out.getvalue(), parse_constant=pytest.fail)["predictions"]
        assert [row["error"] for row in rows] == errors
        assert [row["label"] is None for row in rows] == [error is not None for error in errors]
    assert served.predict(pd.DataFrame({"text": ["a", "b"]})).probability.mean() >= 0.5


def test_the_requirements_are_what_the_served_code_imports(trained: Settings) -> None:
    """Proved in a clean environment by hand (docs/using.md): making one takes minutes."""
    folder = load_champion(trained.home, REVIEWS).parent.parent
    imported = set()
    for path in (folder / "code" / "pipelines").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    packages = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names)
    # Other backends (threadpoolctl is NumPy's); schedules; models that are mixed with NB-SVM
    # (tests/pipelines/mix).
    never = {"pipelines", "jax", "torch", "threadpoolctl", "cronsim", "scipy", "sklearn"}
    asked = dict(line.split("==") for line in (folder / "requirements.txt").read_text().split())
    assert set(asked) == (packages - never) | {"mlflow"}
    assert asked == {name: library_version(name) for name in asked}
