"""A model file that would fill the memory is refused in one line, with little memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipelines.model.backend import load_keras
from pipelines.model.keras_file import load_model
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, artifact_of

pytestmark = pytest.mark.slow

GIANT = 10**9  # rows of four bytes and more each


@pytest.fixture
def model(trained: Settings) -> Path:
    load_keras("tensorflow")
    return artifact_of(trained, "tiny-reviews", "model").path / "model.keras"


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, found: dict[str, bytes], way: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", way) as archive:
        for name, data in found.items():
            archive.writestr(name, data)


def inflating(path: Path) -> None:
    found = members(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", found["metadata.json"])
        archive.writestr("config.json", found["config.json"])
        with archive.open("model.weights.h5", "w") as file:
            for _ in range(40):
                file.write(bytes(10**7))


def lying(path: Path) -> None:
    """The directory states more of a member that is not compressed than the file has."""
    data = path.read_bytes()
    size = (3 * 10**9).to_bytes(4, "little")
    at = data.rindex(b"PK\x01\x02")  # the last member: the weights
    path.write_bytes(data[: at + 20] + 2 * size + data[at + 28 :])


def more_members(path: Path) -> None:
    rewrite(path, members(path) | {"assets/x": b"x"})


def compressed_arrays(path: Path) -> None:
    with_arrays(
        path,
        lambda file: file["layers/embedding/vars"].create_dataset(
            "1", shape=(GIANT,), dtype="f4", chunks=(10**6,), compression="gzip"
        ),
    )


def unwritten_arrays(path: Path) -> None:
    with_arrays(
        path,
        lambda file: file["layers/embedding/vars"].create_dataset(
            "1", shape=(GIANT, GIANT), dtype="f4"
        ),
    )


def arrays_of_other_files(path: Path) -> None:
    def link(file: h5py.File) -> None:
        file["layers/embedding/vars/1"] = h5py.ExternalLink("/etc/passwd", "/x")

    with_arrays(path, link)


def arrays_from_raw_bytes(path: Path) -> None:
    with_arrays(
        path,
        lambda file: file["layers/embedding/vars"].create_dataset(
            "1", shape=(4,), dtype="u1", external=[("/etc/passwd", 0, 4)]
        ),
    )


def with_arrays(path: Path, how: Callable[[h5py.File], Any]) -> None:
    found, weights = members(path), path.with_suffix(".h5")
    weights.write_bytes(found["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        how(file)
    rewrite(path, found | {"model.weights.h5": weights.read_bytes()})
    weights.unlink()


def giant_layers(path: Path) -> None:
    found = members(path)
    config = json.loads(found["config.json"])
    embedding = next(one for one in config["config"]["layers"] if one["name"] == "embedding")
    embedding["config"]["input_dim"] = GIANT
    rewrite(path, found | {"config.json": json.dumps(config).encode()})


BOMBS = [
    inflating,
    lying,
    more_members,
    compressed_arrays,
    unwritten_arrays,
    arrays_of_other_files,
    arrays_from_raw_bytes,
    giant_layers,
]
MEASURED = """
import resource, sys
from pathlib import Path
from pipelines.model.backend import load_keras
load_keras("tensorflow")
from pipelines.errors import FolioError
from pipelines.model.keras_file import load_model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        load_model(Path(path))
        print("loaded", path)
    except FolioError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.long
def test_a_model_file_takes_no_more_memory_than_it_holds(model: Path, tmp_path: Path) -> None:
    paths = []
    for bomb in BOMBS:
        paths.append(shutil.copyfile(model, tmp_path / f"{bomb.__name__}.keras"))
        bomb(paths[-1])
        assert paths[-1].stat().st_size < 2 << 20
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *map(str, paths)],
        text=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    *lines, mebibytes = done.stdout.splitlines()
    assert len(lines) == len(BOMBS), done.stdout + done.stderr[-2000:]
    for path, line in zip(paths, lines, strict=True):
        assert line.startswith(f"{path}: not a Keras model: "), line
    assert int(mebibytes) < 200


def test_a_plain_model_of_keras_loads(model: Path, tmp_path: Path) -> None:
    loaded = load_model(model)
    loaded.save(tmp_path / "again.keras")  # as Keras itself writes it
    for a, b in zip(
        loaded.get_weights(), load_model(tmp_path / "again.keras").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(a, b)
