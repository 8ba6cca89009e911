"""The artifact store: folders published once, checked before they are believed, never changed.

    store/<stage>/<key>/manifest.json   written last: no manifest, no artifact
    store/<stage>/.tmp-<key>/           being written; never read
    store/<stage>/.work-<key>/          survives a crash: partial downloads, checkpoints
    store/<stage>/.lock-<key>           held by whoever writes or removes anything of that key
    store/.damaged/                     artifacts that were not as published
    store/.removed/                     on its way out; never read

A run that reads an artifact holds a shared lock on its manifest until it ends.
"""

from __future__ import annotations

import os
import shutil
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import DamagedError, FolioError, UnreadableError
from pipelines.files.home import made
from pipelines.files.locks import share, try_lock
from pipelines.files.names import unsafe
from pipelines.files.whole_files import write_whole
from pipelines.store import manifest as manifests
from pipelines.store.manifest import KEY, MANIFEST, Artifact, Recipe
from pipelines.store.remote import SharedStore
from pipelines.store.resource_use import Measurement
from pipelines.store.times import utc

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
        self.remote = SharedStore(shared) if shared else None

    @cached_property
    def local(self) -> Store:
        """The same artifacts without the shared store."""
        return self if self.remote is None else Store(self.root, digests=self.digests)

    def find(self, stage: str, key: str) -> Artifact | None:
        """The artifact, its files unchecked, or None: what has no manifest that is whole is none.

        Fetches it from the shared store when only that has it.
        """
        if not _names_one(stage, key):
            return None
        path = self.root / stage / key
        if self.remote is not None and not os.path.lexists(path):
            self.remote.fetch(stage, key, path)
        try:
            return Artifact(stage, key, path, manifests.read(path))
        except (FileNotFoundError, UnreadableError):
            return None

    def newest(self, recipe: Recipe) -> Artifact | None:
        """The latest artifact here that differs from `recipe` in its inputs alone."""
        fixed = {"version", "config", "code", "libraries"}
        found = [
            self.find(recipe.stage, path.parent.name)
            for path in (self.root / recipe.stage).glob(f"[!.]*/{MANIFEST}")
        ]
        alike = [
            artifact
            for artifact in found
            if artifact is not None
            and all(artifact.manifest[name] == getattr(recipe, name) for name in fixed)
        ]
        return max(alike, key=lambda artifact: artifact.manifest["created"], default=None)

    def damage(self, artifact: Artifact) -> str | None:
        """What is wrong with the files, in words, or None when they are as published."""
        return manifests.damage(artifact.path, artifact.manifest["files"], self.digests)

    def remains(self, stage: str, key: str) -> str | None:
        """Why what stands where the artifact should is none; None: it is one, or nothing stands."""
        try:
            if _names_one(stage, key):
                manifests.read(self.root / stage / key)
        except UnreadableError as error:
            return str(error)
        except FileNotFoundError:
            return None
        return None

    def unshared(self, stage: str, key: str) -> str | None:
        """Why the shared store could not give the artifact, if something is wrong."""
        return self.remote.note(stage, key) if self.remote else None

    def set_aside(self, stage: str, key: str) -> Path:
        """Move what stands where an artifact should; for who holds the key's lock. Its new path."""
        aside = made(self.root / ".damaged") / f"{stage}-{key}-{time.time_ns()}"
        return (self.root / stage / key).rename(aside)

    def open(self, stage: str, key: str) -> Artifact:
        """The artifact, checked. Raises DamagedError when it is not there or not whole."""
        artifact = self.find(stage, key)
        problem = (
            self.damage(artifact)
            if artifact
            else (self.remains(stage, key) or self.unshared(stage, key) or "it is not in the store")
        )
        if artifact is None or problem:
            raise DamagedError(f"{stage} artifact {key[:12]}: {problem}; run the pipeline again")
        self.hold(artifact)
        return artifact

    def obtain(
        self,
        recipe: Recipe,
        build: Build,
        *,
        manifest: dict[str, Any],
        force: bool = False,
        progress: Progress = silent,
        mirror: str | None = None,
        offline: bool = False,
        gpu: GpuWish = "any",
    ) -> tuple[Artifact, bool]:
        """The artifact of `recipe`, built if it must be; and whether it was built here.

        Two callers that want one key: one builds, the other waits and takes the result.
        """
        folder = self.root / recipe.stage
        try:
            with self._lock(recipe, progress) as waited:
                found = self.find(recipe.stage, recipe.key)
                sound = found is not None and self.damage(found) is None
                if found and sound and (waited or not force):
                    self.hold(found)
                    return found, False
                work = Workspace(
                    _emptied(folder / f".tmp-{recipe.key}"),
                    _own(folder / f".work-{recipe.key}"),
                    self.root.parent,
                    progress,
                    mirror,
                    offline,
                    gpu,
                )
                with ExitStack() as ending:
                    ending.callback(shutil.rmtree, work.out, ignore_errors=True)
                    built = self._build(recipe, build, work, manifest, found if sound else None)
                    self.hold(built)
                return built, True
        except OSError as error:
            error.filename = error.filename or str(folder)  # `explained` reads it
            raise FolioError(
                f"{error.filename}: {error.strerror or error}; nothing was published. Fix it "
                "(free space, rights) and run again"
            ) from error

    def _build(
        self,
        recipe: Recipe,
        build: Build,
        work: Workspace,
        extra: dict[str, Any],
        standing: Artifact | None,
    ) -> Artifact:
        with Measurement() as measured:
            counts = build(work)
        files = manifests.listed(work.out)
        digest = manifests.content_digest(files)
        if standing is not None and standing.digest == digest:
            shutil.rmtree(work.scratch, ignore_errors=True)
            return standing
        manifest = manifests.sealed(
            vars(recipe)
            | extra
            | {
                "key": recipe.key,
                "digest": digest,
                "files": files,
                "counts": counts,
                "wall_seconds": measured.wall_seconds,
                "peak_memory_bytes": measured.peak_bytes,
                "created": utc(time.time()),
            }
        )
        write_whole(work.out / MANIFEST, manifests.text_of(manifest))
        self._publish(recipe, work)
        return Artifact(recipe.stage, recipe.key, self.root / recipe.stage / recipe.key, manifest)

    def _publish(self, recipe: Recipe, work: Workspace) -> None:
        final = self.root / recipe.stage / recipe.key
        if os.path.lexists(final):  # damaged or superseded: kept aside for a look, never read again
            self.set_aside(recipe.stage, recipe.key)
        for folder in sorted({path.parent for path in work.out.rglob("*")}):
            _sync_folder(folder)
        work.out.rename(final)
        _sync_folder(final.parent)
        shutil.rmtree(work.scratch, ignore_errors=True)

    @contextmanager
    def _lock(self, recipe: Recipe, progress: Progress) -> Iterator[bool]:
        """Exclusive per key; tells whether another had it first."""
        path = lock_of(made(self.root / recipe.stage), recipe.key)
        waited = False
        while (file := try_lock(path)) is None:
            waited = True
            progress(0, None, "waiting for another run that builds the same")
            time.sleep(0.2)
        with file:
            yield waited

    def share(self, artifact: Artifact) -> str | None:
        """Publish it in the shared store as well, where there is one that lacks it. What there is
        to say of that: it was repaired, or could not be reached."""
        if self.remote is None:
            return None
        return self.remote.offer(artifact.stage, artifact.key, artifact.manifest, artifact.path)

    def hold(self, artifact: Artifact) -> bool:
        """Keep the artifact from being removed while this Store lives; False: it is gone."""
        descriptor = share(artifact.path / MANIFEST)
        if descriptor is None:
            return False
        self._held.append(descriptor)
        with suppress(OSError):  # a store that we may only read
            os.utime(descriptor)  # when it was last taken
        return True


def _names_one(stage: str, key: str) -> bool:
    """Whether an artifact may be called so: run records and a registry's tags may say anything."""
    return not unsafe(stage) and KEY.fullmatch(str(key)) is not None


def lock_of(folder: Path, key: str) -> Path:
    """What is locked by whoever writes or removes anything of a key, in a stage's folder."""
    return folder / f".lock-{key}"


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _own(path: Path) -> Path:
    """A folder to write to; a link or a file in its place is not ours and goes."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    return made(path)


def _emptied(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return _own(path)


Inputs = Mapping[str, Artifact]
