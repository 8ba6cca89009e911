"""Exported networks give what Keras gives, in processes without Folio."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.declaration.model_sections import ModelSpec
from pipelines.errors import FolioError, UsageError
from pipelines.export import formats
from pipelines.export.export import export
from pipelines.export.light import write_light
from pipelines.model.backend import load_keras
from pipelines.serving.networks import keras_network
from pipelines.serving.package import Package
from pipelines.store.settings import Settings

pytestmark = pytest.mark.slow

TOLERANCE = {"savedmodel": 1e-5, "onnx": 2e-6}
HIDE = """\
import sys


class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pipelines", "folio", {more}):
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, Hidden())
"""


def code_of(folder: Path) -> str:
    """The example in the README."""
    return (folder / "README.md").read_text(encoding="utf-8").split("```")[1].removeprefix("python")


def outputs_of(folder: Path, kind: str) -> dict[str, np.ndarray[Any, Any]]:
    """What the example computes."""
    more = "'tensorflow', 'keras'" if kind == "onnx" else "'flows'"
    code = HIDE.format(more=more) + code_of(folder) + "np.savez('out.npz', **outputs)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz") as found:
        return dict(found)


def expected(package: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What Keras gives for the inputs of the example."""
    load_keras("tensorflow")
    network = keras_network(Package.read(package))
    given = {
        "tokens": np.array([[2, 3, 4], [5, 6, 0]], np.int32),
        "length": np.array([3, 2], np.int32),
    }
    for one in network.inputs:
        if one.name not in given:
            given[one.name] = np.zeros((2, one.shape[1]), np.float32)
    return {name: value.numpy() for name, value in formats.named(network(given)).items()}


def packed(settings: Settings, name: str) -> Path:
    (found,) = (settings.home / "mlflow" / "artifacts" / name / "models").glob("*/artifacts")
    return found / "data" / "package"


@pytest.mark.parametrize("kind", ["savedmodel", "onnx"])
@pytest.mark.parametrize("name", ["tiny-reviews", "tiny-play"])
def test_an_exported_network_gives_what_keras_gives(
    trained: Settings, tmp_path: Path, name: str, kind: str
) -> None:
    if kind == "onnx":
        pytest.importorskip("tf2onnx"), pytest.importorskip("onnxruntime")
    out = tmp_path / "out"
    found = export(trained.home, name, None, out, kind)
    assert found == {"name": name, "version": 1, "format": kind, "folder": str(out)}
    want, got = expected(packed(trained, name)), outputs_of(out, kind)
    assert want.keys() == got.keys()
    for key, value in want.items():
        np.testing.assert_allclose(got[key], value, atol=TOLERANCE[kind], rtol=0)
    assert max(abs(value).max() for value in want.values()) > 1e-3
    names = {path.name for path in out.iterdir()} - {"out.npz"}
    assert names == {formats.FILES[kind], "README.md", "package.json", "vocabulary"}
    labels = json.loads((out / "package.json").read_text())["labels"]
    assert name != "tiny-reviews" or f'`"{labels[1]}"`' in (out / "README.md").read_text()


@pytest.mark.long
@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "language_model", "cell": "peephole", "units": (7,), "tie_embeddings": True},
        {"kind": "classifier", "cell": "simple", "units": (5, 4), "pool": "all"},
        {"kind": "language_model", "cell": "lstm", "units": (5, 5), "residual": True},
    ],
)
def test_other_cells_too(spec: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx"), pytest.importorskip("onnxruntime")
    import onnxruntime
    import tensorflow as tf

    from pipelines.model.network import build_model

    load_keras("tensorflow")
    draw = np.random.default_rng(1)
    network = build_model(ModelSpec(embedding=7 if "tie_embeddings" in spec else 5, **spec), 20)
    for variable in network.variables:
        variable.assign(draw.normal(0, 0.5, variable.shape))
    given: dict[str, Any] = {
        "tokens": draw.integers(0, 20, (3, 9)).astype(np.int32),
        "length": np.array([9, 4, 1], np.int32),
    }
    for one in network.inputs:
        if one.name not in given:
            given[one.name] = draw.normal(0, 0.5, (3, one.shape[1])).astype(np.float32)
    want = formats.named(network(given))
    formats._write_savedmodel(network, tmp_path / "saved")
    formats._write_onnx(network, tmp_path / "model.onnx")
    loaded = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    saved = loaded(**{name: tf.constant(value) for name, value in given.items()})
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    names = [one.name for one in session.get_outputs()]
    onnx = dict(zip(names, session.run(names, given), strict=True))
    assert saved.keys() == onnx.keys() == want.keys()
    for name, value in want.items():
        np.testing.assert_allclose(saved[name], value, atol=1e-5, rtol=0)
        np.testing.assert_allclose(onnx[name], value, atol=2e-6, rtol=0)


def test_what_cannot_be_exported_is_one_line_and_leaves_nothing(
    trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "folder" / "out"
    with pytest.raises(
        UsageError, match="--format onx: give mlflow, light, savedmodel, onnx; did you"
    ):
        export(trained.home, "tiny-play", None, out, "onx")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [])  # nothing is installed
        for module in ("tf2onnx", "onnx"):
            patch.delitem(sys.modules, module, raising=False)
        with pytest.raises(UsageError, match=r"needs tf2onnx: pip install 'folio\[onnx\]'"):
            export(trained.home, "tiny-play", None, out, "onnx")
    package = shutil.copytree(packed(trained, "tiny-play"), tmp_path / "package")
    own = json.loads((package / "model.json").read_bytes())
    own["model"]["builder"] = "mine.py:network"
    (package / "model.json").write_text(json.dumps(own))
    settings = json.loads((package / "package.json").read_bytes())
    (package / "package.json").write_text(json.dumps(settings | {"files": None}))
    with pytest.raises(FolioError, match=r"model\.builder makes its network"):
        formats.write_format(out, package, "savedmodel", "tiny-play")
    with pytest.raises(FolioError, match=r"model\.builder makes its network"):
        write_light(out, package, "tiny-play")
    assert not list((tmp_path / "folder").glob("**/*"))
