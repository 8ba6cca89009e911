"""Training on JAX and on PyTorch learns, and a kill changes no bit.

Each backend draws other first weights, so their losses are compared elsewhere, on equal weights:
fast/test_layers.py."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import PROJECT
from tests.pipelines.model.test_stage import batches

__all__ = ["batches"]
pytestmark = pytest.mark.slow
KILL_AT = 14  # in the second epoch


def trained_on(backend: str, kind: str, data: Path, folder: Path, *kill_at: int) -> tuple[int, str]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.pipelines.model.train_on",
            *(backend, kind, data, folder, *map(str, kill_at)),
        ],
        text=True,
        capture_output=True,
        cwd=PROJECT,
        env=os.environ | {"KERAS_BACKEND": backend},
    )
    assert done.returncode in (0, -9), done.stderr[-3000:]
    return done.returncode, done.stdout.strip()


def here(backend: str) -> None:
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")


@pytest.mark.parametrize("backend", ["jax", pytest.param("torch", marks=pytest.mark.long)])
def test_it_learns(backend: str, tmp_path: Path, batches: dict[str, Path]) -> None:
    here(backend)
    assert trained_on(backend, "language_model", batches["language_model"], tmp_path)[0] == 0
    losses = pq.read_table(tmp_path / "out" / "history.parquet")["validation_loss"].to_pylist()
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.95 * losses[0]


@pytest.mark.long
@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.parametrize("kind", ["language_model", "classifier"])
def test_a_kill_changes_no_bit(
    backend: str, kind: str, tmp_path: Path, batches: dict[str, Path]
) -> None:
    here(backend)
    data, whole, killed = batches[kind], tmp_path / "whole", tmp_path / "killed"
    assert trained_on(backend, kind, data, whole) == (0, "False")
    assert trained_on(backend, kind, data, killed, KILL_AT)[0] == -9
    assert not (killed / "out" / "model.keras").exists()
    assert trained_on(backend, kind, data, killed) == (0, "True")
    for file in ("model.keras", "history.parquet"):
        assert (killed / "out" / file).read_bytes() == (whole / "out" / file).read_bytes(), file
