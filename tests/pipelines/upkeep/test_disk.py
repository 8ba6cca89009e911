"""What a home takes of the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.upkeep.disk import disk_usage


def write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))


def test_each_stage_and_each_folder_counts_once(tmp_path: Path) -> None:
    write(tmp_path / "store/model/key/model.keras", 700)
    write(tmp_path / "store/model/.work-key/checkpoint", 50)
    write(tmp_path / "store/source/key/deep/down/text", 11)
    write(tmp_path / "store/.damaged/source-key/text", 5)
    write(tmp_path / "mlflow/mlflow.db", 300)
    write(tmp_path / "loose", 2)
    (tmp_path / "mlflow" / "elsewhere").symlink_to(tmp_path / "store")  # not followed
    used = disk_usage(tmp_path)
    assert [(folder["name"], folder["bytes"]) for folder in used["folders"]] == [
        ("store/source", 11),
        ("store/model", 750),
        ("store/.damaged", 5),
        ("loose", 2),
        ("mlflow", 300),
    ]
    assert used["total"] == 1068
    assert abs(used["free"] - shutil.disk_usage(tmp_path).free) < 1e9


def test_an_empty_home_takes_nothing(tmp_path: Path) -> None:
    assert disk_usage(tmp_path)["folders"] == []
