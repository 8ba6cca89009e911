"""Whatever is wrong with an artifact: plan says so, run rebuilds just that, nothing else stops."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.audit.provenance import became_of, came_from
from pipelines.audit.verify import verify
from pipelines.batches.dataset import Split
from pipelines.errors import FolioError, UsageError
from pipelines.files.digests import digest_json
from pipelines.registry.references import resolve
from pipelines.run.execute import execute_stage
from pipelines.run.options import Selection
from pipelines.run.plan import local_digests, plan
from pipelines.stages import stage_named
from pipelines.store.artifacts import Artifact, Recipe, Store, Workspace
from pipelines.store.lineage import stored
from pipelines.store.manifest import MANIFEST, RECIPE, SEAL, content_digest, read
from pipelines.store.settings import Settings
from pipelines.upkeep import store_health
from pipelines.upkeep.collect import collect, garbage, take_stock
from pipelines.upkeep.garbage import Policy
from tests.conftest import artifact_of, spec_of

NAME, UNTIL = "tiny-reviews", Selection.of(until="batches")
Harm = Callable[[Path], Any]


def manifest_of(data: bytes) -> Harm:
    return lambda folder: (folder / MANIFEST).write_bytes(data)


def changed(change: Callable[[dict[str, Any]], Any]) -> Harm:
    """The manifest read, changed and written, as an editor would."""

    def harm(folder: Path) -> None:
        told = json.loads((folder / MANIFEST).read_bytes())
        change(told)
        (folder / MANIFEST).write_text(json.dumps(told))

    return harm


def moved(name: str, put: Callable[[Path, Path], Any]) -> Harm:
    """What was called so ("" is the whole folder) lies elsewhere, and `put` has its place."""

    def harm(folder: Path) -> None:
        elsewhere = folder.parent.parent.parent / "elsewhere"
        (folder / name).rename(elsewhere)
        put(folder / name, elsewhere)

    return harm


def link(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def dangling(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere.with_name("nowhere"))


def first(told: dict[str, Any]) -> dict[str, Any]:
    return next(iter(told["files"].values()))


def without_a_file(told: dict[str, Any]) -> None:
    told["files"].pop("tokens/test-0000.parquet")
    told["digest"] = content_digest(told["files"])


def of_another(folder: Path) -> None:
    """A whole artifact of the same stage, under this key."""
    other = next(path for path in folder.parent.glob("[!.]*") if path != folder)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


SHARD = "tokens/train-0000.parquet"
CHANGED = "manifest.json was changed after it was written"
HARMS: dict[str, tuple[Harm, str]] = {
    "not UTF-8": (manifest_of(b'{"stage": "\xff"}'), "manifest.json: not JSON (UnicodeDecodeErr"),
    "empty": (manifest_of(b""), "manifest.json: empty"),
    "cut": (manifest_of(b'{"files": {"a"'), "manifest.json: not JSON"),
    "a string": (manifest_of(b'"digest"'), "manifest.json: JSON, but not an object"),
    "a list": (manifest_of(b"[]"), "manifest.json: JSON, but not an object"),
    "null": (manifest_of(b"null"), "manifest.json: JSON, but not an object"),
    "an empty object": (manifest_of(b"{}"), "manifest.json has no valid 'stage'"),
    "too deep": (manifest_of(b'{"files":' * 100_000), "manifest.json: not JSON (RecursionError)"),
    "no files": (changed(lambda told: told.pop("files")), "manifest.json has no valid 'files'"),
    "files null": (changed(lambda told: told.update(files=None)), "no valid 'files'"),
    "files a list": (changed(lambda told: told.update(files=[])), "no valid 'files'"),
    "a file without digest": (changed(lambda told: first(told).pop("sha256")), "no size or digest"),
    "no created": (changed(lambda told: told.pop("created")), "no valid 'created'"),
    "inputs of lists": (
        changed(lambda told: told.update(inputs={"corpus": []})),
        "no valid 'inputs'",
    ),
    "a name that leads elsewhere": (
        changed(lambda told: told["files"].update({"../../x": first(told)})),
        "lists a file whose name has an empty part, or one that points",
    ),
    "its own name": (
        changed(lambda told: told["files"].update({MANIFEST: first(told)})),
        "lists a file whose name is the manifest's own",
    ),
    "digest changed": (changed(lambda told: told.update(digest="0" * 64)), CHANGED),
    "counts changed": (changed(lambda told: told["counts"].update(vocabulary=1)), CHANGED),
    "run changed": (changed(lambda told: told.update(run="another")), CHANGED),
    "config changed": (
        changed(lambda told: told["config"].update({"tokens.kind": "char"})),
        CHANGED,
    ),
    "seal dropped": (changed(lambda told: told.pop(SEAL)), CHANGED),
    "files emptied": (changed(lambda told: told.update(files={})), CHANGED),
    "a file dropped, digest and all": (changed(without_a_file), CHANGED),
    "key changed": (changed(lambda told: told.update(key="0" * 64)), "belongs to another artifact"),
    "stage changed": (changed(lambda told: told.update(stage="corpus")), "belongs to another"),
    "of another key": (of_another, "belongs to another artifact"),
    "manifest missing": (lambda folder: (folder / MANIFEST).unlink(), "manifest.json is missing"),
    "manifest a folder": (
        moved(MANIFEST, lambda path, _: path.mkdir()),
        "a folder stands in the place of manifest.json",
    ),
    "manifest a link": (moved(MANIFEST, link), "a link stands in the place of manifest.json"),
    "manifest a dangling link": (moved(MANIFEST, dangling), "a link stands in the place of"),
    "manifest a pipe": (moved(MANIFEST, lambda path, _: os.mkfifo(path)), "a special file stands"),
    "file missing": (lambda folder: (folder / SHARD).unlink(), f"{SHARD} is missing"),
    "file cut": (lambda folder: os.truncate(folder / SHARD, 9), f"{SHARD} is not what was"),
    "file changed": (
        lambda folder: (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[::-1]),
        f"{SHARD} is not what was published",
    ),
    "file a link to itself": (moved(SHARD, link), f"a link stands in the place of {SHARD}"),
    "file a dangling link": (moved(SHARD, dangling), f"a link stands in the place of {SHARD}"),
    "file a folder": (moved(SHARD, lambda path, _: path.mkdir()), f"{SHARD} is missing"),
    "file a pipe": (moved(SHARD, lambda path, _: os.mkfifo(path)), "a special file stands in the"),
    "folder within a link": (moved("tokens", link), "a link stands in the place of tokens"),
    "shard added": (
        lambda folder: shutil.copy(folder / SHARD, folder / "tokens" / "train-9.parquet"),
        "tokens/train-9.parquet was added after it",
    ),
    "file added": (lambda folder: (folder / "note.txt").write_text("x"), "note.txt was added"),
    "folder added": (
        lambda folder: shutil.copytree(folder / "tokens", folder / "more"),
        "more/test-0000.parquet was added after it was published",
    ),
    "an odd name added": (lambda folder: (folder / "\x1b[2Jx").touch(), r"'\x1b[2Jx' was added"),
    "a dangling link": (moved("", dangling), "a link stands in the place of its folder"),
    "a link to a whole one": (moved("", link), "a link stands in the place of its folder"),
    "a file": (moved("", lambda path, _: path.write_text("x")), "a file stands in the place of"),
    "an empty folder": (moved("", lambda path, _: path.mkdir()), "manifest.json is missing"),
}


@pytest.fixture
def here(trained: Settings, tmp_path: Path) -> Settings:
    """A copy of the store and the records."""
    for name in ("store", "runs"):
        shutil.copytree(trained.home / name, tmp_path / name)
    return Settings.at(tmp_path)


def said(here: Settings, declared: Path) -> dict[str, tuple[str, str]]:
    return {one.stage: (one.action, one.reason) for one in plan(spec_of(declared), here, UNTIL)}


def done(here: Settings, declared: Path) -> dict[str, tuple[str, str]]:
    made: dict[str, Artifact] = {}
    found = {}
    for name in UNTIL.within(spec_of(declared)).stages:
        stage = stage_named(name)
        result = execute_stage(stage, spec_of(declared), made, here, UNTIL)
        made[name], found[name] = result.artifact, (result.action, result.reason)
    return found


@pytest.mark.parametrize("harm", HARMS)
def test_plan_and_run_agree_and_the_same_bytes_come_out(
    here: Settings, reviews: Path, harm: str
) -> None:
    before = artifact_of(here, NAME, "tokens")
    damage, why = HARMS[harm]
    damage(before.path)
    planned = said(here, reviews)
    action, reason = planned["tokens"]
    assert action == "rebuild" and reason.startswith("artifact damaged: ") and why in reason
    assert "\n" not in reason and reason.isprintable()
    assert {planned[name] for name in ("source", "corpus")} == {("reuse", "nothing changed")}
    assert done(here, reviews)["tokens"] == planned["tokens"]
    assert set(said(here, reviews).values()) == {("reuse", "nothing changed")}
    assert len(list((here.store.root / ".damaged").iterdir())) == 1
    after = read(before.path)
    assert after["files"] == before.manifest["files"]


def test_an_empty_folder_is_no_damage(here: Settings, reviews: Path) -> None:
    (artifact_of(here, NAME, "tokens").path / "empty" / "deeper").mkdir(parents=True)
    assert said(here, reviews)["tokens"] == ("reuse", "nothing changed")


def test_what_may_not_be_read_is_damage(tmp_path_factory: pytest.TempPathFactory) -> None:
    recipe = Recipe("corpus", 1, {}, {}, {}, {})
    home = Path(os.path.realpath(tmp_path_factory.mktemp("home")))
    store = Store(home / "store")
    made, _ = store.obtain(
        recipe, lambda work: (work.out / "a").write_text("a") and {}, manifest={}
    )
    # Root is kept from nothing, so another user looks.
    parents = [path for path in (made.path, *made.path.parents) if not path.stat().st_mode & 0o001]
    modes = [path.stat().st_mode for path in parents]
    try:
        for path in parents:
            path.chmod(0o755)
        for name, why in (
            ("a", "a cannot be read (Permission denied)"),
            (MANIFEST, "manifest.json: cannot be read (Permission denied)"),
        ):
            (made.path / name).chmod(0)
            other = 65534 if os.geteuid() == 0 else os.geteuid()
            os.seteuid(other)
            try:
                found = store.find("corpus", recipe.key)
                harm = store.damage(found) if found else store.remains("corpus", recipe.key)
            finally:
                os.seteuid(os.getuid())
            assert harm is not None and harm.endswith(why)
            (made.path / name).chmod(0o644)
    finally:
        for path, mode in zip(parents, modes, strict=True):
            path.chmod(mode)


def test_manifests_of_before_are_believed_by_key_and_digest(tmp_path: Path) -> None:
    """Without a seal, under the key that was usual then."""
    store = Store(tmp_path)
    made, _ = store.obtain(
        Recipe("corpus", 1, {"a": 1}, {}, {}, {}),
        lambda work: (work.out / "a").write_text("a") and {},
        manifest={},
    )
    told = {name: value for name, value in made.manifest.items() if name != SEAL}
    told["key"] = digest_json({name: told[name] for name in RECIPE} | {"key": None})
    path = made.path.rename(made.path.with_name(told["key"]))
    (path / MANIFEST).write_text(json.dumps(told))
    found = store.find("corpus", path.name)
    assert found is not None and store.damage(found) is None and list(stored(store)) == [found]
    for change in ({"config": {"a": 2}}, {"digest": "0" * 64}, {SEAL: "0" * 64}):
        (path / MANIFEST).write_text(json.dumps(told | change))
        assert store.find("corpus", path.name) is None
        assert store.remains("corpus", path.name) == CHANGED


def test_names_of_artifacts_are_keys(here: Settings) -> None:
    """Tags of the registry and run records name them: such a name leads nowhere else."""
    key = artifact_of(here, NAME, "tokens").key
    for name in (f"../tokens/{key}", "", "..", key[:12], f"{key}/"):
        assert here.store.find("tokens", name) is here.store.remains("tokens", name) is None
    assert here.store.find("../store/tokens", key) is None
    assert here.store.find(str(here.store.root / "tokens"), key) is None
    assert here.store.find("tokens", key) is not None


def test_one_bad_artifact_stops_nothing_else(here: Settings, reviews: Path) -> None:
    """Every harm at once, of an artifact of its own: each way to look, and to clean, goes on."""
    keys = {harm: digest_json(harm) for harm in HARMS}
    original = artifact_of(here, NAME, "tokens")
    known = set(stored(here.store))
    for harm, key in keys.items():
        path = original.path.with_name(key)
        shutil.copytree(original.path, path)
        manifest = json.loads((path / MANIFEST).read_bytes())
        (path / MANIFEST).write_text(json.dumps(manifest | {"key": key}))
        HARMS[harm][0](path)
        shutil.rmtree(here.home / "elsewhere", ignore_errors=True)
        (here.home / "elsewhere").unlink(missing_ok=True)
    assert set(stored(here.store)) == known
    assert came_from("latest", here)[0]["artifacts"] and became_of(original.key[:16], here)[0]
    assert resolve(keys["null"][:20], here).manifests(here) == {"tokens": None}
    problems = verify(here.home, here.store.root, lambda *_: None).problems
    assert all("this registry has no version" in one for one in problems)  # it was not copied
    stock = take_stock(here)
    assert {*keys.values()} == {
        one.key for one in stock.leftovers if one.kind == "damaged artifact"
    }
    findings = [one for one in store_health.artifacts(here) if one.state == "problem"]
    assert len(findings) == len(HARMS)
    repaired = findings[::2]
    assert all(one.repair is not None and one.repair().startswith("moved the") for one in repaired)
    problems: list[str] = []
    items = garbage(take_stock(here), here, Policy(days=-1))
    gone = collect(
        [one for one in items if one.kind == "damaged artifact"],
        here,
        Policy(),
        stock.now + 60,
        problems.append,
    )
    assert problems == [] and len(gone) == len(HARMS)
    assert sorted(original.path.parent.glob("[!.]*")) == sorted(
        one.path for one in known if one.stage == "tokens"
    )
    assert set(said(here, reviews).values()) == {("reuse", "nothing changed")}


# Readers


@pytest.mark.parametrize(
    ("pipeline", "above", "stage"),
    [
        (NAME, "source", "corpus"),
        (NAME, "corpus", "tokens"),
        (NAME, "tokens", "batches"),
        ("tiny-play", "tokens", "batches"),
    ],
)
def test_a_stage_reads_what_the_manifest_lists(
    here: Settings, reviews: Path, play: Path, tmp_path: Path, pipeline: str, above: str, stage: str
) -> None:
    """A copy of each file, added after the check, is in nothing that is made of them."""
    artifact, made = artifact_of(here, pipeline, above), artifact_of(here, pipeline, stage)
    for path in artifact.files():
        added = path.with_stem(f"{path.stem}9")  # a shard's name too: train-00009.parquet
        shutil.copy(path, added)
    spec, again = spec_of(reviews if pipeline == NAME else play), Store(tmp_path / "again")
    recipe = Recipe(**{name: made.manifest[name] for name in RECIPE})

    def build(work: Workspace) -> dict[str, Any]:
        declared = stage_named(stage)
        return declared.build({above: artifact}, spec.select(declared.config), work)

    found, _ = again.obtain(recipe, build, manifest={})
    assert found.manifest["files"] == made.manifest["files"]


def test_training_and_measuring_read_what_the_manifest_lists(here: Settings) -> None:
    artifact = artifact_of(here, NAME, "batches")
    listed = artifact.files("batches/train/")
    shutil.copy(listed[0], listed[0].with_name("width-00001-0000.parquet"))
    assert listed and Split(artifact, "train").paths == listed


# Names


@pytest.mark.parametrize(
    "name", ["a\nb", "a\\b", "a\x1b[2J", "\u202egnp.exe", os.fsdecode(b"\xff")]
)
def test_a_file_of_ones_own_needs_a_name_that_a_manifest_may_have(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / name).write_text("x")
    for path in (tmp_path / "texts", tmp_path / "texts" / name):
        with pytest.raises(UsageError, match="rename it") as caught:
            local_digests(path)
        assert str(caught.value).isprintable()
    with pytest.raises(FolioError, match="rename or remove"):
        Store(tmp_path / "store").obtain(
            Recipe("source", 1, {}, {}, {}, {}),
            lambda work: (work.out / name).write_text("x") and {},
            manifest={},
        )


def test_unusual_blanks_are_fine(tmp_path: Path) -> None:
    store, name = Store(tmp_path / "store"), "全角\u3000空白\u00a0x.txt"
    recipe = Recipe("source", 1, {}, {}, {}, {})
    made, _ = store.obtain(
        recipe, lambda work: (work.out / name).write_text("x") and {}, manifest={}
    )
    assert store.damage(store.open("source", recipe.key)) is None
    assert [path.name for path in made.files()] == [name]


# What stands in the way of a build


@pytest.mark.parametrize("name", [".tmp-{}", ".work-{}"])
@pytest.mark.parametrize("put", [dangling, link, lambda path, _: path.write_text("x")])
def test_what_stands_in_the_place_of_a_folder_to_write_to_goes(
    tmp_path: Path, name: str, put: Any
) -> None:
    store, recipe = Store(tmp_path / "store"), Recipe("corpus", 1, {}, {}, {}, {})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").touch()
    (tmp_path / "store" / "corpus").mkdir(parents=True)
    put(tmp_path / "store" / "corpus" / name.format(recipe.key), elsewhere)
    made, built = store.obtain(
        recipe, lambda work: (work.out / "a").write_text("a") and {}, manifest={}
    )
    assert built and store.damage(made) is None and os.listdir(elsewhere) == ["mine"]


def test_a_lock_that_is_a_folder_is_one_line(tmp_path: Path) -> None:
    store, recipe = Store(tmp_path / "store"), Recipe("corpus", 1, {}, {}, {}, {})
    lock = tmp_path / "store" / "corpus" / f".lock-{recipe.key}"
    lock.mkdir(parents=True)
    with pytest.raises(FolioError, match="nothing was published") as caught:
        store.obtain(recipe, lambda work: {}, manifest={})
    assert str(lock) in str(caught.value)
