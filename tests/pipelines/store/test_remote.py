"""The shared store, in a folder and in a bucket: what others wrote there is checked, repaired or
made again, and all homes have the same bytes of a key."""

from __future__ import annotations

import gc
import itertools
import json
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import fsspec
import pytest

from pipelines.declaration.spec import Spec
from pipelines.errors import UsageError
from pipelines.files.digests import digest_json
from pipelines.files.home import private_files
from pipelines.run.execute import execute_stage
from pipelines.run.options import Selection
from pipelines.run.plan import plan
from pipelines.shared.place import SharedStoreError
from pipelines.stages import stage_named
from pipelines.store.artifacts import Artifact, Recipe, Store, Workspace
from pipelines.store.manifest import MANIFEST, RECIPE, SEAL
from pipelines.store.settings import Settings
from pipelines.store.sharing import FIRST, IN_USE
from tests.conftest import spec_of

RECIPE_HERE = Recipe("corpus", 1, {"a": 1}, {}, {}, {})
KEY = RECIPE_HERE.key
SELECTION = Selection.of(until="corpus")


def writing(text: str) -> Callable[[Workspace], dict[str, Any]]:
    def build(work: Workspace) -> dict[str, Any]:
        (work.out / "deep").mkdir()
        (work.out / "deep" / "data.txt").write_text(text)
        (work.out / "more.txt").write_text(text * 2)
        return {"characters": len(text)}

    return build


def obtained(store: Store, text: str) -> tuple[Artifact, bool, str | None]:
    """The artifact, whether it was built, and what there is to say of sharing it."""
    artifact, built = store.obtain(RECIPE_HERE, writing(text), manifest={})
    artifact, said = store.share(artifact)
    return artifact, built, said


S3 = pytest.param("s3", marks=pytest.mark.slow)


@pytest.fixture(params=["file", S3])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/shared"
    return request.getfixturevalue("bucket")


@pytest.fixture
def place(address: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The shared store's file system, and where the artifact lies in it."""
    system, root = fsspec.url_to_fs(address)
    return system, f"{root}/corpus/{KEY}"


def test_what_one_home_makes_another_takes(address: str, tmp_path: Path) -> None:
    made, built, said = obtained(Store(tmp_path / "one", address), "abc")
    assert built and said is None
    other = Store(tmp_path / "other", address)
    taken, built, said = obtained(other, "not this")
    assert not built and said is None and taken.digest == made.digest
    assert taken.manifest == made.manifest and other.damage(taken) is None
    assert sorted(path.name for path in taken.path.parent.iterdir()) == [f".lock-{KEY}", KEY]
    assert Store(tmp_path / "alone").find("corpus", KEY) is None


def test_what_is_written_to_a_folder_is_not_as_private_as_a_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "one"))
    before = os.umask(0o022)
    try:
        with private_files():
            store = Store(tmp_path / "one" / "store", f"file://{tmp_path}/shared")
            artifact, _, _ = obtained(store, "abc")
    finally:
        os.umask(before)
    modes = {
        path.is_dir(): path.stat().st_mode & 0o777 for path in (tmp_path / "shared").rglob("*")
    }
    assert modes == {True: 0o755, False: 0o644}
    assert (artifact.path / MANIFEST).stat().st_mode & 0o777 == 0o600


# What others wrote there


def manifest_of(data: bytes) -> Callable[[Any, str], None]:
    return lambda system, path: system.pipe_file(f"{path}/{MANIFEST}", data)


def changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any, str], None]:
    def harm(system: Any, path: str) -> None:
        told = json.loads(system.cat_file(f"{path}/{MANIFEST}"))
        change(told)
        system.pipe_file(f"{path}/{MANIFEST}", json.dumps(told).encode())

    return harm


def resealed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Any, str], None]:
    """By somebody who means harm, and knows how a manifest is sealed."""

    def harm(system: Any, path: str) -> None:
        told = json.loads(system.cat_file(f"{path}/{MANIFEST}"))
        change(told)
        told["digest"] = digest_json({name: one["sha256"] for name, one in told["files"].items()})
        told[SEAL] = digest_json({name: value for name, value in told.items() if name != SEAL})
        system.pipe_file(f"{path}/{MANIFEST}", json.dumps(told).encode())

    return harm


def data(act: Callable[[Any, str], Any]) -> Callable[[Any, str], None]:
    """Something done to a file of the artifact."""

    def harm(system: Any, path: str) -> None:
        digest = sha256(b"abc").hexdigest()
        act(system, f"{path.rpartition('/corpus/')[0]}/blobs/{digest[:2]}/{digest}")

    return harm


def named(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda told: told["files"].update({name: told["files"].pop("deep/data.txt")})


HARMS: dict[str, tuple[Callable[[Any, str], None], str]] = {
    "cut": (manifest_of(b'{"files": {'), "not JSON"),
    "empty": (manifest_of(b""), "empty"),
    "not UTF-8": (manifest_of(b'{"a": "\xff"}'), "not JSON"),
    "a list": (manifest_of(b"[]"), "not an object"),
    "no files": (changed(lambda told: told.pop("files")), "no valid 'files'"),
    "files null": (changed(lambda told: told.update(files=None)), "no valid 'files'"),
    "counts changed": (changed(lambda told: told.update(counts={})), "was changed after it"),
    "above": (resealed(named("../../../../x")), "points elsewhere"),
    "absolute": (resealed(named("/tmp/folio-x")), "is absolute"),
    "backslash": (resealed(named("..\\x")), "has a backslash"),
    "control character": (resealed(named("a\nb")), "has a control character"),
    "empty part": (resealed(named("a//b")), "has an empty part"),
    "its own manifest": (resealed(named(MANIFEST)), "is the manifest's own"),
    "too long": (resealed(named("x" * 300)), "is too long"),
    "a file and a folder of one name": (
        resealed(lambda told: told["files"].update({"more.txt/x": told["files"]["deep/data.txt"]})),
        "more.txt",
    ),
    "another size": (
        resealed(lambda told: told["files"]["deep/data.txt"].update(bytes=2)),
        "deep/data.txt is",
    ),
    "file missing": (data(lambda system, path: system.rm(path)), "deep/data.txt is missing"),
    "file cut": (data(lambda system, path: system.pipe_file(path, b"a")), "not what was published"),
    "file changed": (data(lambda system, path: system.pipe_file(path, b"abd")), "not what was"),
    "file longer": (data(lambda system, path: system.pipe_file(path, b"abc" * 999)), "not what"),
}


IN_A_BUCKET = ("cut", "empty", "file missing", "file cut", "file changed")  # others: as in a folder


@pytest.mark.parametrize(
    ("address", "harm"),
    [
        *(("file", harm) for harm in HARMS),
        *(pytest.param("s3", harm, marks=pytest.mark.slow) for harm in IN_A_BUCKET),
    ],
    indirect=["address"],
)
def test_what_is_not_whole_is_no_artifact_and_is_repaired(
    address: str, place: tuple[Any, str], tmp_path: Path, harm: str
) -> None:
    obtained(Store(tmp_path / "one", address), "abc")
    damage, why = HARMS[harm]
    damage(*place)
    before = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "shared")}
    other = Store(tmp_path / "other", address)
    assert other.find("corpus", KEY) is None
    said = other.unshared("corpus", KEY)
    assert said is not None and said.startswith(f"the copy in FOLIO_STORE={address} is damaged (")
    assert why in said and said.isprintable()
    after = {path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "shared")}
    assert after - before <= {tmp_path / "other", tmp_path / "other" / "corpus"}
    assert not Path("/tmp/folio-x").exists()
    _, built, said = obtained(other, "abc")
    assert built and said == f"the damaged copy in FOLIO_STORE={address} was replaced"
    taken, built, said = obtained(Store(tmp_path / "third", address), "not this")
    assert not built and said is None and (taken.path / "deep" / "data.txt").read_text() == "abc"


@pytest.mark.parametrize("harm", ["cut", "file missing", "file cut"])
def test_who_has_it_already_repairs_it(
    address: str, place: tuple[Any, str], tmp_path: Path, harm: str
) -> None:
    one = Store(tmp_path / "one", address)
    obtained(one, "abc")
    HARMS[harm][0](*place)
    _, built, said = obtained(one, "abc")
    assert not built and said == f"the damaged copy in FOLIO_STORE={address} was replaced"
    assert obtained(one, "abc")[2] is None
    assert not obtained(Store(tmp_path / "other", address), "not this")[1]


def test_a_folder_in_the_place_of_the_manifest_is_said(tmp_path: Path) -> None:
    (tmp_path / "shared" / "corpus" / KEY / MANIFEST).mkdir(parents=True)
    _, built, said = obtained(Store(tmp_path / "one", str(tmp_path / "shared")), "abc")
    assert built and said is not None
    assert said.startswith("not shared: ") and "a folder stands in the place" in said


def test_what_was_shared_before_manifests_had_seals_is_taken(
    address: str, place: tuple[Any, str], tmp_path: Path
) -> None:
    made, _, _ = obtained(Store(tmp_path / "one"), "abc")
    told = {name: value for name, value in made.manifest.items() if name != SEAL}
    told["key"] = digest_json({name: told[name] for name in RECIPE} | {"key": None})
    system, path = place[0], place[1].replace(KEY, told["key"])
    for name in told["files"]:
        system.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
        system.pipe_file(f"{path}/{name}", (made.path / name).read_bytes())
    system.pipe_file(f"{path}/{MANIFEST}", json.dumps(told).encode())
    other = Store(tmp_path / "other", address)
    found = other.find("corpus", told["key"])
    assert found is not None and other.damage(found) is None and found.digest == made.digest


# Two at once


def test_the_one_that_is_late_takes_what_the_first_made(address: str, tmp_path: Path) -> None:
    """Whether it built at the same time, or long before it knew of the others."""
    late = Store(tmp_path / "late", address)

    def build(work: Workspace) -> dict[str, Any]:
        obtained(Store(tmp_path / "first", address), "abc")  # while this one builds
        return writing("xyz")(work)

    artifact, built = late.obtain(RECIPE_HERE, build, manifest={})
    artifact, said = late.share(artifact)
    assert built and said == FIRST
    alone, _, _ = obtained(Store(tmp_path / "alone"), "uvw")
    knows_now = Store(tmp_path / "alone", address)
    theirs, said = knows_now.share(alone)
    assert said == FIRST and knows_now.share(theirs) == (theirs, None)
    for store, found in ((late, artifact), (knows_now, theirs)):
        assert (found.path / "more.txt").read_text() == "abcabc" and store.damage(found) is None
    assert len(list((tmp_path / "alone" / ".damaged").iterdir())) == 1  # kept for a while


def test_what_a_run_uses_is_not_replaced_under_it(address: str, tmp_path: Path) -> None:
    obtained(Store(tmp_path / "first", address), "abc")
    running = Store(tmp_path / "other")
    used, _ = running.obtain(RECIPE_HERE, writing("xyz"), manifest={})
    assert running.hold(used)
    _, said = Store(tmp_path / "other", address).share(used)
    assert said == IN_USE and (used.path / "more.txt").read_text() == "xyzxyz"
    del running
    gc.collect()
    assert Store(tmp_path / "other", address).share(used)[1] == FIRST


@pytest.mark.parametrize("attempt", range(3))
def test_several_that_make_other_bytes_at_once_have_the_same_in_the_end(
    address: str, tmp_path: Path, attempt: int
) -> None:
    """And one that takes what is there all the while never gets a mixture."""
    texts = [letter * 300_000 for letter in "abc"]
    ready, stop, seen = threading.Barrier(3), threading.Event(), set()

    def make(text: str) -> Artifact:
        def build(work: Workspace) -> dict[str, Any]:
            ready.wait()
            return writing(text)(work)

        store = Store(tmp_path / text[0], address)
        return store.share(store.obtain(RECIPE_HERE, build, manifest={})[0])[0]

    def watch() -> None:
        for turn in itertools.count():
            ends = stop.is_set()
            other = Store(tmp_path / f"watch-{turn}", address)
            if found := other.find("corpus", KEY):
                assert other.damage(found) is None
                seen.add(found.digest)
            assert other.unshared("corpus", KEY) is None
            if ends:
                return

    with ThreadPoolExecutor(4) as pool:
        watching = pool.submit(watch)
        made = list(pool.map(make, texts))
        stop.set()
        watching.result()
    assert len({one.digest for one in made} | seen) == 1 and seen
    assert len({(one.path / "more.txt").read_bytes() for one in made}) == 1


def test_a_killed_upload_is_no_artifact_and_is_finished(tmp_path: Path) -> None:
    address, there = str(tmp_path / "shared"), tmp_path / "shared"
    obtained(Store(tmp_path / "one", address), "abc")
    (there / "corpus" / KEY / MANIFEST).unlink()
    next((there / "blobs").rglob(sha256(b"abcabc").hexdigest())).write_bytes(b"a")
    other = Store(tmp_path / "other", address)
    _, built, said = obtained(other, "abc")
    assert built and said is None
    assert not obtained(Store(tmp_path / "third", address), "not this")[1]
    assert [path for path in there.rglob("*") if path.name.startswith(".")] == []


# A place that does not answer


@pytest.fixture
def corpus(tmp_path: Path, reviews: Path) -> Callable[[str | None], tuple[list[Any], list[Any]]]:
    """Plans and runs source and corpus in a home of its own, with that FOLIO_STORE."""
    spec: Spec = spec_of(reviews)

    def both(shared: str | None) -> tuple[list[Any], list[Any]]:
        here = Settings.at(tmp_path / "home", shared)
        planned, made, done = plan(spec, here, SELECTION), {}, []
        for name in SELECTION.stages:
            done.append(execute_stage(stage_named(name), spec, made, here, SELECTION))
            made[name] = done[-1].artifact
        return planned, done

    return both


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nothing answers."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield f"http://user:secret@127.0.0.1:{unused.getsockname()[1]}/folio"


def test_a_place_that_does_not_answer_is_a_notice_if_all_is_here_and_else_an_error(
    corpus: Callable[..., Any], nowhere: str, tmp_path: Path
) -> None:
    with pytest.raises(SharedStoreError) as caught:
        corpus(nowhere)
    said = str(caught.value)
    assert said.startswith("FOLIO_STORE=http://") and "this home has no source artifact" in said
    assert "secret" not in said and "\n" not in said and caught.value.exit_code == 1
    corpus(None)
    planned, done = corpus(nowhere)
    assert {one.action for one in (*planned, *done)} == {"reuse"}
    first, second = (one.reason for one in done)
    assert "not shared: FOLIO_STORE=http://" in first and "secret" not in first
    assert second == "nothing changed"  # it is said once
    planned, done = corpus(f"file://{tmp_path}/shared")  # what was made then is shared now
    assert {(one.action, one.reason) for one in (*planned, *done)} == {("reuse", "nothing changed")}
    assert len(list((tmp_path / "shared").glob(f"*/*/{MANIFEST}"))) == 2


@pytest.mark.parametrize("place", ["shared", "gone/shared"])
def test_a_folder_that_cannot_be_is_one_error(
    corpus: Callable[..., Any], tmp_path: Path, place: str
) -> None:
    (tmp_path / "shared").write_text("a file")
    with pytest.raises(SharedStoreError, match=r"FOLIO_STORE=.*(shared|gone) is not a folder"):
        corpus(f"{tmp_path}/{place}")
    assert not (tmp_path / "gone").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user")
def test_a_place_that_one_may_only_read_serves(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = Path(os.path.realpath(tmp_path_factory.mktemp("shared")))
    parents = [path for path in (folder, *folder.parents) if not path.stat().st_mode & 0o001]
    modes = [path.stat().st_mode for path in parents]
    obtained(Store(folder / "one", str(folder / "shared")), "abc")
    (folder / "mine").mkdir()
    shutil.chown(folder / "mine", 65534)
    try:
        for path in (folder, *parents):
            path.chmod(0o755)
        os.seteuid(65534)
        try:
            store = Store(folder / "mine" / "store", str(folder / "shared"))
            _, built, said = obtained(store, "not this")
            other, _ = store.obtain(Recipe("corpus", 2, {}, {}, {}, {}), writing("x"), manifest={})
            _, refused = store.share(other)
        finally:
            os.seteuid(0)
    finally:
        for path, mode in zip(parents, modes, strict=True):
            path.chmod(mode)
    assert not built and said is None
    assert refused is not None and "cannot be written (Permission denied)" in refused


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("foo://user:secret@host/x", "not an address that fsspec supports"),
        ("no-such-protocol://user:secret@host/x", "not an address that fsspec supports"),
        ("memory://user:secret@folio", "is seen by one process only"),
        ("abfs://user:secret@host/x", "the package for it is not installed"),
    ],
)
def test_an_address_that_cannot_be_right_is_one_line(
    tmp_path: Path, address: str, why: str
) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        Store(tmp_path, address).find("corpus", KEY)
    said = str(caught.value)
    assert said.startswith("FOLIO_STORE=") and "secret" not in said and "\n" not in said
