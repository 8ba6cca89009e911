"""What is noted of manifests never says anything else than the manifests."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from pipelines.store.artifacts import MANIFEST, Artifact, Store
from pipelines.store.lineage import stored
from pipelines.store.removal import size_of
from pipelines.upkeep import glances as module
from pipelines.upkeep.glances import NOTES, glances
from tests.pipelines.store.test_artifacts import recipe, write


class Counting(Store):
    """Knows how many manifests were read."""

    reads = 0

    def find(self, stage: str, key: str, *, holds_lock: bool = False) -> Artifact | None:
        self.reads += 1
        return super().find(stage, key, holds_lock=holds_lock)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Artifact]:
    """Three artifacts, left alone for long enough."""
    monkeypatch.setattr(module, "LEFT_ALONE", -1.0)
    store = Store(tmp_path / "home" / "store")
    started = {"pipeline": "first", "version": 3}
    return [
        store.obtain(
            recipe(stage=stage, config=config), build, manifest={"run": "r1", "pipeline": "p"}
        )[0]
        for stage, config, build in (
            ("corpus", {"a": 1}, write("abc")),
            ("release", {"name": "films"}, lambda work: {"version": 2}),
            ("start", {"b": 1}, lambda work: started),
        )
    ]


def found(made: list[Artifact]) -> tuple[list[Artifact], int]:
    store = Counting(made[0].path.parents[1])
    return glances(store), store.reads


def test_it_is_what_the_manifests_say_and_each_is_read_once(made: list[Artifact]) -> None:
    first, reads = found(made)
    again, none = found(made)
    whole = list(stored(Store(made[0].path.parents[1])))
    assert (reads, none) == (3, 0)
    assert first == again == whole
    assert [one.manifest for one in first] == [one.manifest for one in again]
    for one, all_of_it in zip(again, whole, strict=True):
        assert one.manifest["bytes"] == size_of(one.path)
        assert one.digest == all_of_it.digest
        assert {name: one.manifest[name] for name in ("created", "run", "inputs")} == {
            name: all_of_it.manifest[name] for name in ("created", "run", "inputs")
        }
    assert again[1].manifest["config"]["name"] == "films" and again[1].counts["version"] == 2
    assert again[2].counts == {"pipeline": "first", "version": 3}


def test_a_changed_manifest_is_no_artifact_even_with_its_old_size_and_time(
    made: list[Artifact],
) -> None:
    assert len(found(made)[0]) == 3
    manifest = made[0].path / MANIFEST
    before, data = manifest.stat(), manifest.read_bytes()
    with manifest.open("rb+") as file:
        file.write(data.replace(b'"r1"', b'"r2"'))
    os.utime(manifest, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert manifest.stat().st_size == before.st_size
    assert [one.stage for one in found(made)[0]] == ["release", "start"]
    with manifest.open("rb+") as file:
        file.write(data)
    assert len(found(made)[0]) == 3


def test_folders_that_are_gone_or_replaced_by_links_are_no_artifacts(
    made: list[Artifact], tmp_path: Path
) -> None:
    found(made)
    shutil.rmtree(made[1].path)
    made[0].path.rename(tmp_path / "elsewhere")
    made[0].path.symlink_to(tmp_path / "elsewhere")
    assert [one.stage for one in found(made)[0]] == ["start"]


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "folder", "older version"])
def test_notes_that_are_not_as_they_were_written_do_not_count(
    made: list[Artifact], harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = found(made)
    notes = made[0].path.parents[2] / NOTES
    data = notes.read_bytes()
    if harm == "flip":
        notes.write_bytes(data.replace(b'"r1"', b'"r2"'))
    elif harm == "cut":
        notes.write_bytes(data[:-9])
    elif harm == "empty":
        notes.write_bytes(b"")
    elif harm == "folder":
        notes.unlink()
        notes.mkdir()
    else:
        monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
    again, reads = found(made)
    assert (again, reads) == (whole, 3)
    assert [one.manifest for one in again] == [one.manifest for one in whole]


def test_what_was_just_written_is_not_noted(
    made: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert found(made)[1] == found(made)[1] == 3
    notes = made[0].path.parents[2] / NOTES
    assert not notes.exists() or json.loads(notes.read_text().partition("\n")[2])["notes"] == {}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_that_may_only_be_read(made: list[Artifact]) -> None:
    home = made[0].path.parents[2]
    home.chmod(0o500)
    try:
        assert len(found(made)[0]) == 3
    finally:
        home.chmod(0o700)
