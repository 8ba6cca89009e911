"""The artifact store: folders published once, checked before they are believed, never changed.

    store/<stage>/<key>/manifest.json   written last: no manifest, no artifact
    store/<stage>/.tmp-<key>/           being written; never read
    store/<stage>/.work-<key>/          survives a crash: partial downloads, checkpoints
    store/<stage>/.lock-<key>           held by whoever writes or removes anything of that key
    store/.damaged/                     artifacts whose bytes were not those published
    store/.removed/                     on its way out; never read

A run that reads an artifact holds a shared lock on its manifest until it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pipelines import remote
from pipelines.errors import DamagedError, FolioError
from pipelines.fingerprint import digest_file, digest_json
from pipelines.locks import share, try_lock
from pipelines.measure import Measurement
from pipelines.remote import MANIFEST

Progress = Callable[[float, float | None, str], None]  # done, total if known, what is counted
GpuWish = Literal["any", "preferred", "required"]  # preferred: its absence is told


def silent(done: float, total: float | None, unit: str) -> None:
    """A Progress that shows nothing."""


@dataclass(frozen=True)
class Workspace:
    """What a stage may write to, and how it may fetch. Not part of any key."""

    out: Path
    scratch: Path
    home: Path  # where the registry of this Folio lives
    progress: Progress = silent
    mirror: str | None = None
    offline: bool = False
    gpu: GpuWish = "any"


@dataclass(frozen=True)
class Artifact:
    """A published folder. `path` is local; `manifest` says what it is and where it came from."""

    stage: str
    key: str
    path: Path
    manifest: dict[str, Any] = field(repr=False, compare=False)

    @property
    def digest(self) -> str:
        """Digest of the content alone: equal bytes have equal digests, whatever made them."""
        return self.manifest["digest"]

    @property
    def counts(self) -> dict[str, Any]:
        return self.manifest["counts"]


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a stage's bytes. `key` is its digest."""

    stage: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    code: dict[str, str]
    libraries: dict[str, str]

    @cached_property
    def key(self) -> str:
        return digest_json(vars(self) | {"key": None})


Build = Callable[[Workspace], dict[str, Any]]


class Store:
    """Artifacts under `root`; with `shared`, an address, also published to and fetched from there.

    Without `digests` files are believed by their sizes: for a look, never for a run.
    """

    def __init__(self, root: Path, shared: str | None = None, *, digests: bool = True) -> None:
        self.root = root
        self.digests = digests
        self._held: list[int] = []  # descriptors, see `hold`
        weakref.finalize(self, _close, self._held)
        self.remote = None
        if shared:
            from upath import UPath

            self.remote = UPath(shared)

    @cached_property
    def local(self) -> Store:
        """The same artifacts without the shared store."""
        return self if self.remote is None else Store(self.root, digests=self.digests)

    def find(self, stage: str, key: str) -> Artifact | None:
        """The artifact, unchecked, or None. Fetches it from the remote when only that has it."""
        path = self.root / stage / key
        if not (path / MANIFEST).is_file() and self.remote is not None:
            remote.fetch(self.remote / stage / key, path)
        try:
            manifest = json.loads((path / MANIFEST).read_bytes())
            return Artifact(stage, key, path, manifest) if "digest" in manifest else None
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, TypeError):
            return None

    def newest(self, recipe: Recipe) -> Artifact | None:
        """The latest artifact here that differs from `recipe` in its inputs alone."""
        fixed = {"version", "config", "code", "libraries"}
        found = [self.find(recipe.stage, path.parent.name)
                 for path in (self.root / recipe.stage).glob(f"[!.]*/{MANIFEST}")]
        alike = [artifact for artifact in found if artifact is not None
                 and all(artifact.manifest[name] == getattr(recipe, name) for name in fixed)]
        return max(alike, key=lambda artifact: artifact.manifest["created"], default=None)

    def damage(self, artifact: Artifact) -> str | None:
        """What is wrong with the files, in words, or None when they are as published."""
        for name, entry in artifact.manifest["files"].items():
            path = artifact.path / name
            if not path.is_file():
                return f"{name} is missing"
            same = path.stat().st_size == entry["bytes"] and (
                not self.digests or digest_file(path) == entry["sha256"])
            if not same:
                return f"{name} is not what was published"
        return None

    def set_aside(self, stage: str, key: str) -> Path:
        """Move what stands where an artifact should; for who holds the key's lock. Its new path."""
        aside = _made(self.root / ".damaged") / f"{stage}-{key}-{time.time_ns()}"
        return (self.root / stage / key).rename(aside)

    def has_remains(self, stage: str, key: str) -> bool:
        """Whether a folder stands where the artifact should, without a readable manifest."""
        return (self.root / stage / key).exists() and self.find(stage, key) is None

    def open(self, stage: str, key: str) -> Artifact:
        """The artifact, checked. Raises DamagedError when it is not there or not whole."""
        artifact = self.find(stage, key)
        problem = self.damage(artifact) if artifact else "it is not in the store"
        if artifact is None or problem:
            raise DamagedError(f"{stage} artifact {key[:12]}: {problem}; run the pipeline again")
        self.hold(artifact)
        return artifact

    def obtain(
        self, recipe: Recipe, build: Build, *, manifest: dict[str, Any], force: bool = False,
        progress: Progress = silent, mirror: str | None = None, offline: bool = False,
        gpu: GpuWish = "any",
    ) -> tuple[Artifact, bool]:
        """The artifact of `recipe`, built if it must be; and whether it was built here.

        Two callers that want one key: one builds, the other waits and takes the result.
        """
        with self._lock(recipe, progress) as waited:
            found = self.find(recipe.stage, recipe.key)
            sound = found is not None and self.damage(found) is None
            if found and sound and (waited or not force):
                self.hold(found)
                return found, False
            folder = self.root / recipe.stage
            work = Workspace(_emptied(folder / f".tmp-{recipe.key}"),
                             _made(folder / f".work-{recipe.key}"), self.root.parent,
                             progress, mirror, offline, gpu)
            try:
                made = self._build(recipe, build, work, manifest, found if sound else None)
                self.hold(made)
                return made, True
            except OSError as error:
                raise FolioError(
                    f"{error.filename or folder}: {error.strerror or error}; nothing was "
                    "published. Mend it (free space, rights) and run again") from error
            finally:
                shutil.rmtree(work.out, ignore_errors=True)

    def _build(self, recipe: Recipe, build: Build, work: Workspace, extra: dict[str, Any],
               standing: Artifact | None) -> Artifact:
        with Measurement() as measured:
            counts = build(work)
        files = {str(path.relative_to(work.out)): _entry(path)
                 for path in sorted(work.out.rglob("*")) if path.is_file()}
        digest = digest_json({name: entry["sha256"] for name, entry in files.items()})
        if standing is not None and standing.digest == digest:
            shutil.rmtree(work.scratch, ignore_errors=True)
            return standing
        manifest = vars(recipe) | extra | {
            "key": recipe.key, "digest": digest, "files": files, "counts": counts,
            "wall_seconds": measured.wall_seconds, "peak_memory_bytes": measured.peak_bytes,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        _write_synced(work.out / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False))
        self._publish(recipe, work)
        return Artifact(recipe.stage, recipe.key, self.root / recipe.stage / recipe.key, manifest)

    def _publish(self, recipe: Recipe, work: Workspace) -> None:
        final = self.root / recipe.stage / recipe.key
        if final.exists():  # damaged or superseded: kept aside for a look, never read again
            self.set_aside(recipe.stage, recipe.key)
        for folder in sorted({path.parent for path in work.out.rglob("*")}):
            _sync_folder(folder)
        work.out.rename(final)
        _sync_folder(final.parent)
        shutil.rmtree(work.scratch, ignore_errors=True)
        if self.remote is not None:
            remote.upload(final, self.remote / recipe.stage / recipe.key)

    @contextmanager
    def _lock(self, recipe: Recipe, progress: Progress) -> Iterator[bool]:
        """Exclusive per key; tells whether another had it first."""
        path = lock_of(_made(self.root / recipe.stage), recipe.key)
        waited = False
        while (file := try_lock(path)) is None:
            waited = True
            progress(0, None, "waiting for another run that builds the same")
            time.sleep(0.2)
        with file:
            yield waited

    def share(self, artifact: Artifact) -> None:
        """Publish it in the shared store, too, where there is one that has nothing of its key."""
        if self.remote is not None:
            remote.supply(artifact.path, self.remote / artifact.stage / artifact.key)

    def hold(self, artifact: Artifact) -> bool:
        """Keep the artifact from being removed while this Store lives; False: it is gone."""
        descriptor = share(artifact.path / MANIFEST)
        if descriptor is None:
            return False
        self._held.append(descriptor)
        with suppress(OSError):  # a store that we may only read
            os.utime(descriptor)  # when it was last taken
        return True


def lock_of(folder: Path, key: str) -> Path:
    """What is locked by whoever writes or removes anything of a key, in a stage's folder."""
    return folder / f".lock-{key}"


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    return {"bytes": path.stat().st_size, "sha256": digest_file(path)}


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, text: str) -> None:
    """Write all or nothing, so that a reader never sees half a file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _write_synced(partial, text)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)  # of a full disk, say
        raise


def write_json(path: Path, value: Any) -> None:
    """As `write_whole`."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False))


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _made(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path


def _emptied(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return _made(path)
