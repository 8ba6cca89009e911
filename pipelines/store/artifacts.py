"""The artifact store: folders published once, checked before use, never changed.

store/<stage>/<key>/manifest.json   written last: no manifest, no artifact
store/<stage>/.tmp-<key>/           being written; never read
store/<stage>/.work-<key>/          survives a crash: partial downloads, checkpoints
store/<stage>/.lock-<key>           held by a process that writes or removes anything of that key
store/.damaged/                     damaged artifacts that were set aside
store/.removed/                     being removed; never read

A run that reads an artifact holds a shared lock on its manifest until it ends.
"""

from __future__ import annotations

import os
import shutil
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import DamagedError, FolioError, UnreadableError
from pipelines.files.home import made
from pipelines.files.listing import difference, listed
from pipelines.files.locks import share, try_lock
from pipelines.files.names import unsafe
from pipelines.files.resource_use import Measurement
from pipelines.files.whole_files import sync_folder, write_whole
from pipelines.steps.here import HERE
from pipelines.steps.step import Executor
from pipelines.store import manifest as manifests
from pipelines.store.manifest import KEY, MANIFEST, Artifact, Recipe
from pipelines.store.sharing import Sharing, drop_work, lock_of, set_aside
from pipelines.store.times import utc

Progress = Callable[[float, float | None, str], None]  # done, total if known, unit
Log = Callable[[str], None]  # a line worth keeping, such as the figures of an epoch
# The row of each epoch that has ended, and its seconds.
Epochs = Callable[[list[dict[str, float]], list[float]], None]
GpuWish = Literal["any", "preferred", "required"]  # preferred: a notice says if there is none


def silent(done: float, total: float | None, unit: str) -> None:
    """A Progress that shows nothing."""


def unheard(text: str) -> None:
    """A Log that keeps nothing."""


@dataclass(frozen=True)
class Workspace:
    """Where a stage may write, and how it may download. Not part of any key."""

    out: Path
    scratch: Path
    home: Path  # where this Folio's registry is
    progress: Progress = silent
    mirror: str | None = None
    offline: bool = False
    gpu: GpuWish = "any"
    log: Log = unheard
    epochs: Epochs = lambda history, seconds: None
    steps: Executor = HERE


Build = Callable[[Workspace], dict[str, Any]]


class Store:
    """Artifacts under `root`; with `shared`, an address, also published to and fetched from there.

    Without `digests`, files are checked only by size: for a display, never for a run.
    """

    def __init__(self, root: Path, shared: str | None = None, *, digests: bool = True) -> None:
        self.root = root
        self.digests = digests
        self._held: list[int] = []  # descriptors, see `hold`
        weakref.finalize(self, _close, self._held)
        self.sharing = Sharing(root, shared) if shared else None
        self.remote = self.sharing.remote if self.sharing else None

    @cached_property
    def local(self) -> Store:
        """The same artifacts without the shared store."""
        return self if self.remote is None else Store(self.root, digests=self.digests)

    def find(self, stage: str, key: str, *, holds_lock: bool = False) -> Artifact | None:
        """The artifact, its files unchecked, or None if it has no complete manifest.

        Takes it from the shared store if this one does not have it. `holds_lock`: that of the key.
        """
        path = self.root / stage / key
        if not _names_one(stage, key):
            return None
        for _ in range(2):
            with suppress(FileNotFoundError, UnreadableError):
                return Artifact(stage, key, path, manifests.read(path))
            if not self.sharing or not self.sharing.take(stage, key, holds_lock=holds_lock):
                return None
        return None

    def mended(self, artifact: Artifact) -> Artifact | None:
        """A damaged artifact, taken again from the shared store; None if that has no whole one."""
        stage, key = artifact.stage, artifact.key
        if self.sharing and self.sharing.take(stage, key, over="any"):
            return self.find(stage, key)
        self.unshared(stage, key)  # raises an error if the shared store is unreachable
        return None

    def newest(self, recipe: Recipe) -> Artifact | None:
        """The latest artifact here that differs from `recipe` only in its inputs."""
        fixed, folder = ("version", "config", "code", "libraries"), self.root / recipe.stage
        names = [path.parent.name for path in folder.glob(f"[!.]*/{MANIFEST}")]
        found = filter(None, (self.find(recipe.stage, name) for name in names))
        same = {name: getattr(recipe, name) for name in fixed}
        alike = [one for one in found if same.items() <= one.manifest.items()]
        return max(alike, key=lambda artifact: artifact.manifest["created"], default=None)

    def damage(self, artifact: Artifact) -> str | None:
        """What is wrong with the files, in words, or None if they are unchanged."""
        return difference(artifact.path, artifact.manifest["files"], MANIFEST, self.digests)

    def remains(self, stage: str, key: str) -> str | None:
        """Why the artifact's folder is none; None if it is one, or does not exist."""
        try:
            if _names_one(stage, key):
                manifests.read(self.root / stage / key)
        except UnreadableError as error:
            return str(error)
        except FileNotFoundError:
            return None
        return None

    def unshared(self, stage: str, key: str) -> str | None:
        """Why the shared store could not provide the artifact, if something is wrong with it there.
        Raises SharedStoreError if that store is unreachable."""
        return self.remote.note(stage, key) if self.remote else None

    def set_aside(self, stage: str, key: str) -> Path:
        return set_aside(self.root, stage, key)

    def open(self, stage: str, key: str) -> Artifact:
        """The artifact, checked. Raises DamagedError if it is missing or damaged."""
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
        log: Log = unheard,
        steps: Executor = HERE,
    ) -> tuple[Artifact, bool]:
        """The artifact of `recipe`, built if necessary; and whether it was built here.

        If two callers need one key, one builds it, and the other waits and takes the result.
        """
        folder = self.root / recipe.stage
        try:
            with self._lock(recipe, progress) as waited:
                found = self.find(recipe.stage, recipe.key, holds_lock=True)
                sound = found is not None and self.damage(found) is None
                if found and sound and (waited or not force):
                    self.hold(found)
                    return found, False
                made = _emptied(folder / f".tmp-{recipe.key}"), _own(folder / f".work-{recipe.key}")
                home = self.root.parent
                work = Workspace(*made, home, progress, mirror, offline, gpu, log, steps=steps)
                build = self.sharing.going_on(recipe, build) if self.sharing else build
                try:
                    built = self._build(recipe, build, work, manifest, found if sound else None)
                    self.hold(built)
                finally:
                    shutil.rmtree(work.out, ignore_errors=True)
                return built, True
        except OSError as error:
            error.filename = error.filename or str(folder)  # `refusal_of` reads it
            raise FolioError(
                f"{error.filename}: {error.strerror or error}; nothing was published. Fix "
                "this (free space, permissions) and run again"
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
        files = listed(work.out)
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
        if self.sharing:
            manifest = self.sharing.settle(recipe, work.out, manifest)
        self._publish(recipe, work)
        return Artifact(recipe.stage, recipe.key, self.root / recipe.stage / recipe.key, manifest)

    def _publish(self, recipe: Recipe, work: Workspace) -> None:
        final = self.root / recipe.stage / recipe.key
        if os.path.lexists(final):  # damaged or superseded: kept for inspection, never read again
            set_aside(self.root, recipe.stage, recipe.key)
        for folder in sorted({path.parent for path in work.out.rglob("*")}):
            sync_folder(folder)
        work.out.rename(final)
        sync_folder(final.parent)
        shutil.rmtree(work.scratch, ignore_errors=True)

    @contextmanager
    def _lock(self, recipe: Recipe, progress: Progress) -> Iterator[bool]:
        """Exclusive per key; yields whether another process had it first."""
        path = lock_of(made(self.root / recipe.stage), recipe.key)
        waited = False
        while (file := try_lock(path)) is None:
            waited = True
            progress(0, None, "waiting for another run that builds the same artifact")
            time.sleep(0.2)
        with file:
            yield waited

    def share(self, artifact: Artifact) -> tuple[Artifact, str | None]:
        """The artifact after an exchange with the shared store, and a notice, see `Sharing.share`.
        What one holds is not exchanged."""
        return self.sharing.share(artifact) if self.sharing else (artifact, None)

    def hold(self, artifact: Artifact) -> bool:
        """Keep the artifact from being removed while this Store exists; False: it is gone."""
        descriptor = share(artifact.path / MANIFEST)
        if descriptor is None:
            return False
        self._held.append(descriptor)
        with suppress(OSError):  # a read-only store
            os.utime(descriptor)  # when it was last used
            drop_work(artifact)
        return True


def _names_one(stage: str, key: str) -> bool:
    """Whether this is a valid artifact name: run records and a registry's tags may contain
    anything."""
    return not unsafe(stage) and KEY.fullmatch(str(key)) is not None


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _own(path: Path) -> Path:
    """A folder to write to; a link or a file in its place is removed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    return made(path)


def _emptied(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    return _own(path)


Inputs = Mapping[str, Artifact]
