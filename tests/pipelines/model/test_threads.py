"""The bits of a model depend on the declared threads, and not on how many cores there are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from pipelines.errors import FolioError
from pipelines.model.backend import TENSORFLOW_THREADS, load_keras
from tests.conftest import PROJECT
from tests.pipelines.model.test_stage import batches

__all__ = ["batches"]
pytestmark = pytest.mark.slow
KILL_AT = 14


def trained(
    folder: Path, data: Path, cores: int, backend: str, kill_at: int = -1, threads: int = 2
) -> tuple[int, str]:
    """Trained in a process that may use so many cores; its exit code and whether it resumed."""
    command = [sys.executable, "-m", "tests.pipelines.model.train_wide", backend]
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    done = subprocess.run(
        [*command, data, folder, str(kill_at), str(threads)],
        text=True,
        capture_output=True,
        cwd=PROJECT,
        env={name: value for name, value in os.environ.items() if name != TENSORFLOW_THREADS},
        preexec_fn=lambda: os.sched_setaffinity(0, allowed),
    )
    assert done.returncode in (0, -9), done.stderr[-3000:]
    return done.returncode, done.stdout.strip()


def bits(folder: Path) -> bytes:
    return (folder / "out" / "model.keras").read_bytes()


@pytest.fixture(scope="module")
def on_two(
    tmp_path_factory: pytest.TempPathFactory, batches: dict[str, Path]
) -> Callable[[str], bytes]:
    """The model that two cores train, by backend."""

    @cache
    def model(backend: str) -> bytes:
        folder = tmp_path_factory.mktemp("two")
        assert trained(folder, batches["language_model"], 2, backend) == (0, "False")
        return bits(folder)

    return model


two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores, of which one can be taken away",
)


@two_cores
@pytest.mark.long
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_fewer_cores_give_the_same_bits(
    tmp_path: Path, batches: dict[str, Path], on_two: Callable[[str], bytes], backend: str
) -> None:
    if backend == "jax":
        pytest.importorskip("jax")
    assert trained(tmp_path, batches["language_model"], 1, backend) == (0, "False")
    assert bits(tmp_path) == on_two(backend)


@two_cores
@pytest.mark.long
def test_a_checkpoint_may_be_continued_with_fewer_cores(
    tmp_path: Path, batches: dict[str, Path], on_two: Callable[[str], bytes]
) -> None:
    data = batches["language_model"]
    assert trained(tmp_path, data, 2, "tensorflow", KILL_AT)[0] == -9
    assert trained(tmp_path, data, 1, "tensorflow") == (0, "True")
    assert bits(tmp_path) == on_two("tensorflow")


@two_cores
@pytest.mark.long
def test_other_threads_give_other_bits(
    tmp_path: Path, batches: dict[str, Path], on_two: Callable[[str], bytes]
) -> None:
    """Or else the tests above would show nothing."""
    assert trained(tmp_path, batches["language_model"], 2, "tensorflow", threads=1)[0] == 0
    assert bits(tmp_path) != on_two("tensorflow")


def test_a_process_keeps_its_threads() -> None:
    load_keras("tensorflow", threads=2)
    import tensorflow as tf

    tf.constant(1) + 1
    with pytest.raises(FolioError, match=r"already computes with 2 threads; .* in a separate"):
        load_keras("tensorflow", threads=3)
    load_keras("tensorflow")  # where the last bits do not matter
