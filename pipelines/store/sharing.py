"""Exchanges the artifacts of a home with the shared store of several homes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pipelines.errors import UnreadableError
from pipelines.files.home import made
from pipelines.files.locks import try_lock
from pipelines.shared import homes
from pipelines.shared.place import SharedStoreError
from pipelines.shared.unfinished import Unfinished, forget, unfinished_work
from pipelines.stages import STAGES
from pipelines.store import manifest as manifests
from pipelines.store.manifest import KEY, MANIFEST, Artifact, Recipe
from pipelines.store.remote import Offer, SharedStore, Stands

ANNOUNCED = 3600.0  # seconds; a list of the home's artifacts is written again after this time
UNFINISHED = {stage.name: stage.unfinished for stage in STAGES}
SHARED = frozenset(stage.name for stage in STAGES if stage.shared)
FIRST = "another home had made other bytes of it first; its artifact was taken"
IN_USE = "another home made other bytes of it first; they are taken once no run uses these"
Over = Literal["no artifact", "unused", "any"]
Build = Callable[[Any], dict[str, Any]]  # with a Workspace


def lock_of(folder: Path, key: str) -> Path:
    """The lock for writing or removing anything of a key, in a stage's folder."""
    return folder / f".lock-{key}"


def drop_work(artifact: Artifact) -> None:
    """What is left of the work on it, if its run was killed just after it had published. What is
    newer belongs to another attempt, which will be continued."""
    folder = artifact.path.parent
    work = folder / f".work-{artifact.key}"
    if work.is_dir() and (lock := try_lock(lock_of(folder, artifact.key))) is not None:
        published = datetime.fromisoformat(artifact.manifest["created"]).timestamp() + 1
        with lock:
            files = (path for path in work.rglob("*") if not path.is_dir())
            if all(path.lstat().st_mtime <= published for path in files):
                shutil.rmtree(work, ignore_errors=True)


def set_aside(root: Path, stage: str, key: str) -> Path:
    """Move an artifact's folder aside; the caller holds the key's lock. Returns its new path."""
    aside = made(root / ".damaged") / f"{stage}-{key}-{time.time_ns()}"
    return (root / stage / key).rename(aside)


class Sharing:
    """Between the artifacts under `root` and the shared store at an address."""

    def __init__(self, root: Path, address: str) -> None:
        self.root, self.remote = root, SharedStore(address)
        self._settled: dict[tuple[str, str], Offer] = {}
        self._ending: set[tuple[str, str]] = set()  # whose unfinished work is to be deleted
        self._announced: tuple[homes.Keeps, float] = {}, 0.0

    def take(
        self, stage: str, key: str, *, holds_lock: bool = False, over: Over = "no artifact"
    ) -> bool:
        """Put the shared store's copy where the artifact belongs, and say whether that was
        possible. What stands there is set aside if it is `over`: no artifact, one that no run
        uses, or any, such as a damaged one."""
        final = self.root / stage / key
        partial = final.with_name(f".fetch-{key}-{time.time_ns()}")
        try:
            if not self.remote.fetch(stage, key, partial):
                return False
            with ExitStack() as held:
                if not holds_lock:
                    lock = try_lock(lock_of(final.parent, key))
                    if lock is None:  # another run makes it
                        return False
                    held.enter_context(lock)
                if not self._make_room(stage, key, over):
                    return False
                partial.rename(final)
            return True
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _make_room(self, stage: str, key: str, over: Over) -> bool:
        final = self.root / stage / key
        if not os.path.lexists(final):
            return True
        try:
            manifests.read(final)
        except UnreadableError:
            pass
        else:
            if over == "no artifact":
                return False
            if over == "unused":
                unused = try_lock(final / MANIFEST)  # runs that use it hold it shared
                if unused is None:
                    return False
                unused.close()
        set_aside(self.root, stage, key)
        return True

    def settle(self, recipe: Recipe, draft: Path, manifest: dict[str, Any]) -> dict[str, Any]:
        """Offer an artifact before it is published here; returns its manifest. If another home was
        first, `draft` becomes the artifact of that one: all homes have the same bytes of a key."""
        stage, key = recipe.stage, recipe.key
        for _ in range(2):
            offer = self.remote.offer(stage, key, manifest, draft)
            self._settled[stage, key] = offer
            if offer.stands is not Stands.OTHERS:
                break
            theirs = draft.with_name(f".fetch-{key}-{time.time_ns()}")
            try:
                if self.remote.fetch(stage, key, theirs):
                    shutil.rmtree(draft)
                    theirs.rename(draft)
                    self._settled[stage, key] = Offer(Stands.OTHERS, FIRST)
                    return manifests.parse((draft / MANIFEST).read_bytes(), stage, key)
            finally:
                shutil.rmtree(theirs, ignore_errors=True)
        return manifest

    def share(self, artifact: Artifact) -> tuple[Artifact, str | None]:
        """Publish an artifact of this home if the shared store lacks it, repair it there, or take
        that of another home which was first. Returns the one that counts, and a notice if there is
        something to say of it."""
        stage, key = artifact.stage, artifact.key
        offer = self._settled.pop((stage, key), None)
        if offer is None:
            artifact, offer = self._exchanged(artifact)
        if offer.stands is not Stands.UNKNOWN:
            self._end(stage, key)
            self.announce()
        return artifact, offer.notice

    def _exchanged(self, artifact: Artifact) -> tuple[Artifact, Offer]:
        stage, key = artifact.stage, artifact.key
        for _ in range(2):
            offer = self.remote.offer(stage, key, artifact.manifest, artifact.path)
            if offer.stands is not Stands.OTHERS:
                return artifact, offer
            if self.take(stage, key, over="unused"):
                theirs = Artifact(stage, key, artifact.path, manifests.read(artifact.path))
                return theirs, Offer(Stands.OTHERS, FIRST)
        why = self.remote.unreachable or self.remote.note(stage, key) or IN_USE
        return artifact, Offer(Stands.OTHERS, why)

    def announce(self) -> None:
        """Say which artifacts this home has, so that no other home's gc deletes them."""
        keeps = kept(self.root)
        before, when = self._announced
        now = time.time()
        if self.remote.unreachable or (keeps == before and now - when < ANNOUNCED):
            return
        self._announced = keeps, now
        with suppress(SharedStoreError):  # one that may only be read
            homes.announce(self.remote.place, self.root, keeps)

    def going_on(self, recipe: Recipe, build: Build) -> Build:
        """Builds as `build` does, but goes on from what another home has done of it, and lets
        others go on from what is done here, for stages that have unfinished work."""
        names = UNFINISHED.get(recipe.stage, ())
        if not names:
            return build

        def going_on(work: Any) -> dict[str, Any]:
            below = unfinished_work(recipe.stage, recipe.key)
            shared = Unfinished(self.remote.place, below, work.scratch, names, work, self.announce)
            shared.resume()
            done = False
            try:
                counts = build(replace(work, progress=shared.report))
                done = True
                return counts
            finally:
                shared.close(at_once=done)

        self._ending.add((recipe.stage, recipe.key))
        return going_on

    def _end(self, stage: str, key: str) -> None:
        """What others could go on from is of no use once the artifact is there."""
        if (stage, key) in self._ending:
            self._ending.discard((stage, key))
            with suppress(SharedStoreError):  # folio gc finds it
                forget(self.remote.place, unfinished_work(stage, key))


def kept(root: Path) -> dict[str, list[str]]:
    """{stage: keys} of the artifacts under `root` that are shared."""
    return {
        stage: sorted(
            path.parent.name
            for path in (root / stage).glob(f"[!.]*/{MANIFEST}")
            if KEY.fullmatch(path.parent.name)
        )
        for stage in sorted(SHARED)
    }
