"""Models that were registered before the modules moved into rooms: their loader is called
`pipelines.served_model`, and their code lies flat.

`tests/data/registered_before_rooms.tar.xz` is what two tiny pipelines left in a home at the last
commit before the move: the registry, and the artifacts that say what the champions have read.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.run.retraining import retrain_plain
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.conftest import PLAY, PROJECT, REVIEWS, artifact_of

pytestmark = pytest.mark.slow

EARLIER = PROJECT / "tests" / "data" / "registered_before_rooms.tar.xz"
MADE_IN = "/srv/folio/home"
ASK = """\
import mlflow, pandas, sys
model = mlflow.pyfunc.load_model(sys.argv[1])
print(sys.modules["pipelines"].__path__, file=sys.stderr)
print(model.predict(pandas.DataFrame({"text": ["good"]})).to_json(orient="records"))
"""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    home = tmp_path_factory.mktemp("earlier")
    home.chmod(0o700)
    with tarfile.open(EARLIER) as packed:
        packed.extractall(home, filter="data")
    move_registry(home)
    return Settings.at(home)


def move_registry(home: Path) -> None:
    """MLflow notes absolute paths."""
    with sqlite3.connect(home / "mlflow" / "mlflow.db") as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            for column in database.execute(f"PRAGMA table_info({table})").fetchall():
                database.execute(
                    f"UPDATE {table} SET {column[1]} = replace({column[1]}, ?, ?) "
                    f"WHERE {column[1]} LIKE ?",
                    (MADE_IN, str(home), f"%{MADE_IN}%"),
                )
    for path in (home / "mlflow").rglob("MLmodel"):
        path.write_text(path.read_text().replace(MADE_IN, str(home)))


def test_an_earlier_package_predicts(earlier: Settings) -> None:
    reviews = Predictor.load(load_champion(earlier.home, "tiny-reviews"))
    (row,) = reviews.predict(["A fine film."])
    assert row["label"] in ("negative", "positive") and 0.5 <= row["probability"] <= 1
    play = Predictor.load(load_champion(earlier.home, "tiny-play"))
    assert len(play.generate(["MARIAN:"], 20, 0.8, 1)[0]["text"]) == 20


@pytest.mark.long
@pytest.mark.parametrize("name", ["tiny-reviews", "tiny-play"])
@pytest.mark.parametrize("code", ["ours", "its own"])
def test_mlflow_loads_an_earlier_model(
    earlier: Settings, name: str, code: str, tmp_path: Path
) -> None:
    """In a process that has Folio loaded, and in one that finds just what the model brings along;
    both give the same answer."""
    (model,) = (earlier.home / "mlflow" / "artifacts" / name / "models").glob("*/artifacts")
    first = "import pipelines.errors\n" if code == "ours" else ""
    done = subprocess.run(
        [sys.executable, "-c", first + ASK, str(model)],
        text=True,
        check=True,
        cwd=PROJECT if code == "ours" else tmp_path,
        capture_output=True,
    )
    assert (str(model) in done.stderr) == (code == "its own")
    answer = done.stdout.strip().splitlines()[-1]
    assert '"error":null' in answer
    noted = earlier.home / f"{name}.answer"
    assert noted.read_text() == answer if noted.exists() else noted.write_text(answer)


@pytest.mark.long
@pytest.mark.parametrize(("name", "text"), [("tiny-reviews", REVIEWS), ("tiny-play", PLAY)])
def test_an_earlier_champion_is_rescored(
    earlier: Settings, name: str, text: str, declare: Callable[[str, str], Path]
) -> None:
    """On a test text that it was never measured on."""
    changed = text.replace("test: 0.1}", "test: 0.15}").replace("test: 0.2,", "test: 0.15,")
    assert changed != text
    changed = f"name: {name}\n{changed}"
    retrain_plain(str(declare(name, changed)), settings=earlier, notice=lambda told: None)
    release = artifact_of(earlier, name, "release").path / "release.json"
    evidence = json.loads(release.read_bytes())["evidence"]
    assert evidence["rescored"] and evidence["champion"] > 0
