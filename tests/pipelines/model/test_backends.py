"""Training on JAX learns, on one device and on several, and a kill changes no bit.

JAX draws other first weights than TensorFlow, so their losses are compared elsewhere, on equal
weights: fast/test_layers.py."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipelines.declaration.model_sections import BatchesSpec
from pipelines.model.keras_file import load_model
from tests.conftest import PROJECT
from tests.pipelines.batches.test_stage import build as build_batches
from tests.pipelines.batches.test_stage import documents
from tests.pipelines.model.test_stage import batches

__all__ = ["batches"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed"),
]
KILL_AT = 14  # in the second epoch
ROWS, LENGTH = 6, 20
STEP = ROWS * LENGTH  # tokens
LEARNT = {"language_model": 0.95, "classifier": 0.98}  # of the loss, in three epochs
KINDS = [*LEARNT]


def trained(
    kind: str, data: Path, folder: Path, devices: int = 1, kill_at: int = -1, epochs: int = 3
) -> str:
    """What it says of its devices, and whether it was continued; empty if it was killed."""
    arguments = (kind, data, folder, devices, kill_at, epochs)
    done = subprocess.run(
        [sys.executable, "-m", "tests.pipelines.model.train_on", *map(str, arguments)],
        text=True,
        capture_output=True,
        cwd=PROJECT,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    assert done.returncode == (0 if kill_at < 0 else -9), done.stderr[-3000:]
    return done.stdout.strip()


def history(folder: Path, column: str) -> list[float]:
    return pq.read_table(folder / "out" / "history.parquet")[column].to_pylist()


@pytest.mark.parametrize(
    "kind", ["language_model", pytest.param("classifier", marks=pytest.mark.long)]
)
def test_two_devices_learn_what_one_learns(
    kind: str, tmp_path: Path, batches: dict[str, Path]
) -> None:
    assert trained(kind, batches[kind], tmp_path / "one") == "1 device, from the start"
    assert trained(kind, batches[kind], tmp_path / "two", 2) == "2 devices, from the start"
    losses = history(tmp_path / "one", "loss")
    assert losses == sorted(losses, reverse=True) and losses[-1] < LEARNT[kind] * losses[0]
    np.testing.assert_allclose(history(tmp_path / "two", "loss"), losses, rtol=1e-5)
    one, two = (load_model(tmp_path / name / "out" / "model.keras") for name in ("one", "two"))
    for mine, other in zip(one.trainable_variables, two.trainable_variables, strict=True):
        np.testing.assert_allclose(np.array(mine), np.array(other), atol=1e-4)


@pytest.mark.long
def test_the_losses_of_a_hundred_steps_are_equal(tmp_path: Path) -> None:
    """Each epoch is one step, so that the history has the loss of each."""
    text = documents([STEP + 1])[0]
    data, _ = build_batches(
        tmp_path,
        BatchesSpec(batch_size=ROWS, sequence_length=LENGTH),
        "language_model",
        True,
        train=[text],
        validation=[text],
        test=[text],
    )
    (train,) = (data / "batches" / "train").glob("*.parquet")
    assert pq.ParquetFile(train).num_row_groups == 1
    said = [
        trained("language_model", data, tmp_path / str(devices), devices, epochs=100)
        for devices in (1, 2)
    ]
    assert said == ["1 device, from the start", "2 devices, from the start"]
    one, two = (history(tmp_path / str(devices), "loss") for devices in (1, 2))
    assert len(one) == 100 and one[-1] < 0.5 * one[0]
    np.testing.assert_allclose(two, one, rtol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_kill_changes_no_bit(
    kind: str, devices: int, tmp_path: Path, batches: dict[str, Path]
) -> None:
    data, whole, killed = batches[kind], tmp_path / "whole", tmp_path / "killed"
    trained(kind, data, whole, devices)
    assert not trained(kind, data, killed, devices, KILL_AT)
    assert not (killed / "out" / "model.keras").exists()
    assert trained(kind, data, killed, devices).endswith("continued")
    for file in ("model.keras", "history.parquet"):
        assert (killed / "out" / file).read_bytes() == (whole / "out" / file).read_bytes(), file


def test_more_devices_than_there_are_is_one_line(tmp_path: Path, batches: dict[str, Path]) -> None:
    """Where JAX has been used already, the CPU cannot be divided any more."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import jax, sys; jax.devices(); from tests.pipelines.model.train_on import main; "
            f"main('classifier', {str(batches['classifier'])!r}, {str(tmp_path)!r}, '2')",
        ],
        text=True,
        capture_output=True,
        cwd=PROJECT,
        env=os.environ | {"KERAS_BACKEND": "jax"},
    )
    assert "FolioError: training.devices 2: JAX has 1 here (cpu:0)" in done.stderr
