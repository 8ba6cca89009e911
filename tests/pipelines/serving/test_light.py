"""A package on NumPy answers as it does on Keras, and imports nothing of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.serving.predictor import NUMPY, Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow

REVIEWS, PLAY, WORDS, JAPANESE = "tiny-reviews", "tiny-play", "tiny-words", "tiny-japanese"
TEXTS = ["a wonderful film", "dull, dull, dull!", "x" * 30, " ", "the end " * 90]
SCRIPT = """
import json, sys
from pathlib import Path
from pipelines.serving.predictor import Predictor
predictor = Predictor.load(Path(sys.argv[1]), "numpy")
answer = (
    predictor.predict(["a wonderful film"]) if predictor.kind == "classifier"
    else predictor.generate(["MARIAN: "], 40, 0.8, 3)
)
heavy = [name for name in ("keras", "tensorflow", "pandas", "mlflow") if name in sys.modules]
print(json.dumps([answer, heavy]))
"""


def both(home: Path, name: str) -> tuple[Predictor, Predictor]:
    folder = load_champion(home, name)
    return Predictor.load(folder, NUMPY), Predictor.load(folder, "tensorflow")


def test_a_classifier_answers_as_keras_does(trained: Settings) -> None:
    light, keras = both(trained.home, REVIEWS)
    for ours, theirs in zip(light.predict(TEXTS), keras.predict(TEXTS), strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert ours[key] == (pytest.approx(value, abs=1e-5) if type(value) is float else value)


@pytest.mark.parametrize("name", [PLAY, WORDS, JAPANESE])
def test_a_language_model_predicts_and_writes_as_keras_does(
    name: str, trained: Settings, writers: Settings
) -> None:
    home = trained.home if name == PLAY else writers.home
    light, keras = both(home, name)
    ours, theirs = (each.next_tokens("", 9) for each in (light, keras))
    assert [one["token"] for one in ours] == [one["token"] for one in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert mine["probability"] == pytest.approx(other["probability"], abs=1e-5)
    for context in (None, 5):
        wish = {"length": 60, "temperature": 0.9, "seed": 7, "top_k": 8, "context": context}
        assert light.generate(["", ""], **wish) == keras.generate(["", ""], **wish)


SCORING = """
import json, sys
from pathlib import Path
from pipelines.scoring.score_file import RegisteredModel, score_file
from pipelines.scoring.score_order import Order
model = RegisteredModel.find(Path(sys.argv[1]), sys.argv[2])
summary = score_file(model, Order(Path(sys.argv[3]), Path(sys.argv[4])))
heavy = [name for name in ("keras", "tensorflow", "mlflow") if name in sys.modules]
print(json.dumps([summary["scored"], heavy]))
"""


@pytest.mark.parametrize("name", [REVIEWS, PLAY])
def test_a_short_file_imports_nothing_heavy(name: str, trained: Settings, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\nfine\nA fine film.\n")
    given = [trained.home, name, tmp_path / "in.csv", tmp_path / "out.csv"]
    run = subprocess.run(
        [sys.executable, "-c", SCORING, *given],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(run.stdout) == [2, []]


@pytest.mark.parametrize("name", [REVIEWS, PLAY])
def test_nothing_heavy_is_imported(name: str, trained: Settings) -> None:
    folder = load_champion(trained.home, name)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, folder],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    (answer,), heavy = json.loads(run.stdout)
    assert answer and heavy == []


def test_a_classifier_is_refused_before_anything_heavy_is_imported(
    trained: Settings, tmp_path: Path
) -> None:
    home = shutil.copytree(trained.home, tmp_path / "home")
    code = (
        "import sys\n"
        "from flows.cli.main import main\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    print([name for name in ('keras', 'tensorflow', 'mlflow') if name in sys.modules])"
    )
    asked = ("generate", REVIEWS, "--length", "9000")  # long enough for Keras
    done = subprocess.run(
        [sys.executable, "-c", code, *asked],
        cwd=PROJECT,
        env=os.environ | {"FOLIO_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (2, "[]")
    assert done.stderr == f"folio: {REVIEWS} is a classifier: use predict\n"
