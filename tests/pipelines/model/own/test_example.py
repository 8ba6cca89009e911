"""The example in docs/declarations.md: it runs as it is printed, and its model needs none of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.export.export import export
from pipelines.registry.versions import versions
from pipelines.run.plan import plan
from pipelines.run.retraining import retrain_plain
from pipelines.serving.predictor import NUMPY, Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, REVIEWS, declared, spec_of

pytestmark = pytest.mark.long

PAGE = (PROJECT / "docs" / "declarations.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("### A step of your own")[2].partition("\n[All keys]")[0]
ASK = """\
import json, mlflow, pandas, sys
rows = mlflow.pyfunc.load_model(sys.argv[1]).predict(pandas.DataFrame({"text": ["A fine film."]}))
print(json.dumps([rows["positive_probability"][0], "own" in sys.modules]))
"""


def written(folder: Path) -> Path:
    """The modules that the page prints, and a declaration that names what it names."""
    for code in re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL):
        path = folder / code.splitlines()[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)
    shown = yaml.safe_load(re.search(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[1])
    step, builder = shown["corpus"]["transform"], shown["model"]["builder"]
    text = REVIEWS.replace(
        "corpus: {{", "corpus: {{labels: [negative, positive], transform: " + step + ", "
    )
    own = "model: {{builder: " + builder + ", kind: classifier, units: [9]}}"
    return declared(folder, "mine", re.sub(r"model: \{\{.*\}\}", own, text))


def test_the_example_on_the_page(empty_registry: Path, tmp_path: Path) -> None:
    home = shutil.copytree(empty_registry, tmp_path / "home")
    settings, path = Settings.at(home), written(tmp_path)
    record = retrain_plain(str(path), settings=settings, notice=lambda text: None)
    assert record["version"] == 1 and record["metrics"]["accuracy"] > 0.5
    assert all(one.action == "reuse" for one in plan(spec_of(path), settings))
    for name in ("clean", "networks"):
        with (tmp_path / "own" / f"{name}.py").open("a") as code:
            code.write("# changed\n")
    reasons = {one.stage: one.reason for one in plan(spec_of(path), settings)}
    assert reasons["corpus"] == "own/clean.py changed"
    ours = Predictor.load(load_champion(home, "mine"), NUMPY)  # which computes only Folio's own
    [row] = ours.predict(["A fine film."])
    shutil.rmtree(tmp_path / "own")
    export(home, "mine", None, tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path / "out")],
        text=True,
        capture_output=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    elsewhere, loaded = json.loads(done.stdout.splitlines()[-1])
    assert abs(elsewhere - row["positive_probability"]) < 1e-6 and not loaded
    [version] = versions(home, "mine")
    names = {"/".join(path.parts[-2:]) for path in version.folder.rglob("*.py")}
    assert "model/network.py" in names and not names & {"own/clean.py", "own/networks.py"}
