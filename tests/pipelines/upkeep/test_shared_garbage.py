"""folio gc and folio doctor in the shared store: what any home has stays, and nothing else that is
old."""

from __future__ import annotations

import json
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from pipelines.shared import homes
from pipelines.shared.place import Place
from pipelines.store.artifacts import Artifact, Recipe
from pipelines.store.settings import Settings
from pipelines.upkeep.findings import Finding, examined
from pipelines.upkeep.garbage import DAY, Item, Policy
from pipelines.upkeep.shared_garbage import collect_shared, shared_garbage
from pipelines.upkeep.store_health import shared_store
from tests.pipelines.store.test_remote import writing

pytestmark = pytest.mark.slow
LATER = 8 * DAY
POLICY = Policy()


def home(tmp_path: Path, name: str, address: str) -> Settings:
    return Settings.at(tmp_path / name, address)


def made(settings: Settings, number: int, text: str) -> Artifact:
    """The artifact of a key, made or taken in a home and shared."""
    recipe = Recipe("corpus", number, {}, {}, {}, {})
    artifact, _ = settings.store.obtain(recipe, writing(text), manifest={})
    return settings.store.share(artifact)[0]


def found(settings: Settings, later: float = LATER, policy: Policy = POLICY) -> list[Item]:
    return shared_garbage(settings, (), policy, time.time() + later, pytest.fail)


def deleted(settings: Settings, items: list[Item], later: float = LATER) -> list[Item]:
    return collect_shared(items, settings, POLICY, time.time() + later, pytest.fail)


def keys(place: Place) -> set[str]:
    return {name.split("/")[1] for name in place.names("corpus")}


def test_what_no_home_has_is_deleted_and_what_any_home_has_stays(
    bucket: str, tmp_path: Path
) -> None:
    one, other, place = (
        home(tmp_path, "one", bucket),
        home(tmp_path, "other", bucket),
        Place(bucket),
    )
    needless, theirs, ours = made(one, 1, "abc"), made(one, 2, "xyz"), made(one, 3, "abcd")
    assert made(other, 2, "not this").digest == theirs.digest  # taken
    again = made(one, 4, "abc")  # of the same files as the first
    for artifact in (needless, theirs):  # as gc does in a home
        shutil.rmtree(artifact.path)
    (item,) = found(one)
    assert (item.kind, item.name) == ("shared artifact", f"corpus {needless.key[:12]}")
    assert item.path is None and item.bytes > 0
    assert keys(place) == {one.key for one in (needless, theirs, ours, again)}  # a dry run
    assert deleted(one, [item]) == [item]
    assert keys(place) == {theirs.key, ours.key, again.key}
    fresh = home(tmp_path, "fresh", bucket)
    for artifact in (theirs, ours, again):  # its files are whole
        taken = fresh.store.find("corpus", artifact.key)
        assert taken is not None and fresh.store.damage(taken) is None
    shutil.rmtree(again.path)
    shutil.rmtree(tmp_path / "fresh")
    place.delete(homes.list_name(fresh.store.root))
    (item,) = found(one)
    assert len(item.objects) == 3  # its files go with the last that has them
    deleted(one, [item])
    assert found(one) == [] and len(place.names("blobs")) == 4


def test_what_is_young_stays_however_little_is_asked_for(bucket: str, tmp_path: Path) -> None:
    one = home(tmp_path, "one", bucket)
    shutil.rmtree(made(one, 1, "abc").path)
    assert found(one, DAY / 2, Policy(days=0)) == []
    assert len(found(one, 1.1 * DAY, Policy(days=0))) == 1
    assert found(one, 1.1 * DAY) == []  # 7 days unless told otherwise


def test_what_was_listed_or_written_in_the_meantime_stays(bucket: str, tmp_path: Path) -> None:
    one, other = home(tmp_path, "one", bucket), home(tmp_path, "other", bucket)
    artifact = made(one, 1, "abc")
    shutil.rmtree(artifact.path)
    items = found(one)
    made(other, 1, "not this")
    assert len(items) == 1 and deleted(one, items) == []
    assert deleted(one, items, later=0) == [] and keys(Place(bucket)) == {artifact.key}


def test_a_home_that_is_long_gone_keeps_nothing(bucket: str, tmp_path: Path) -> None:
    gone, one = home(tmp_path, "gone", bucket), home(tmp_path, "one", bucket)
    made(gone, 1, "abc")
    shutil.rmtree(tmp_path / "gone")
    assert found(one) == []
    month = (homes.VALID_DAYS + 1) * DAY
    items = found(one, month)
    assert [item.kind for item in items] == ["shared artifact", "shared list"]
    assert deleted(one, items, month) == items and Place(bucket).names("blobs") == {}


def test_remains_of_killed_uploads_and_trainings_are_deleted(bucket: str, tmp_path: Path) -> None:
    one, place = home(tmp_path, "one", bucket), Place(bucket)
    kept = made(one, 1, "abc")
    place.write(f"blobs/00/{'0' * 64}", b"half an upload")
    place.write(f"unfinished/model/{'1' * 64}/{2:015d}-{'3' * 64}.tar", b"a checkpoint")
    assert found(one, DAY) == []
    items = found(one)
    assert [item.kind for item in items] == ["shared files", "shared partial work"]
    assert [item.bytes for item in items] == [14, 12]
    deleted(one, items)
    assert place.names("unfinished") == {} and len(place.names("blobs")) == 2
    assert keys(place) == {kept.key}


def test_if_not_all_can_be_read_nothing_is_deleted(bucket: str, tmp_path: Path) -> None:
    one, place, said = home(tmp_path, "one", bucket), Place(bucket), list[str]()
    shutil.rmtree(made(one, 1, "abc").path)
    later = time.time() + LATER
    for text in ("{", json.dumps({"keeps": {"corpus": "all"}, "expires": later})):
        place.write("homes/other.json", text.encode())
        assert shared_garbage(one, (), POLICY, later, said.append) == []
        assert said.pop().startswith(f"kept: all that is in FOLIO_STORE={bucket}, because")
    place.delete("homes/other.json")
    items = found(one)
    place.write("homes/other.json", b"{")
    assert collect_shared(items, one, POLICY, later, said.append) == [] and len(said) == 1
    place.delete("homes/other.json")
    stands = made(home(tmp_path, "two", bucket), 2, "xyz")
    place.write(f"corpus/{stands.key}/manifest.json", b"{")  # its files are not known
    place.write(f"blobs/00/{'0' * 64}", b"perhaps one of its files")
    assert all(item.kind == "shared artifact" and len(item.objects) == 1 for item in found(one))
    nowhere = home(tmp_path, "three", f"{tmp_path}/gone/shared")
    assert shared_garbage(nowhere, (), POLICY, later, said.append) == []
    assert "is not a folder" in said[-1] and "\n" not in said[-1]


def test_doctor_says_whether_it_answers(bucket: str, tmp_path: Path) -> None:
    def findings(address: str | None) -> list[Finding]:
        settings = Settings.at(tmp_path / "one", address)
        return examined({"shared store": partial(shared_store, settings)})

    made(home(tmp_path, "one", bucket), 1, "abc")
    (fine,) = findings(bucket)
    assert fine.state == "ok" and fine.text.endswith("answers; homes that use it: 1")
    (missing,) = findings("s3://no-such-bucket/folio")
    assert missing.state == "problem" and "there is no such bucket" in missing.text
    assert missing.remedy == "fix the address, or create the bucket"
    assert findings(None) == []
