"""Checks whether the store, records and journal are intact, and what killed runs left behind.

Checks only look; a finding that can be fixed safely contains the fix: nothing is deleted that a run
could continue from, and damaged artifacts are moved aside, as in the store itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError
from pipelines.files import small_files
from pipelines.files.home import is_shared
from pipelines.files.locks import try_lock
from pipelines.registry.champions import journal_of, pending_path, read_pending
from pipelines.report.page import moment
from pipelines.shared import homes
from pipelines.store.artifacts import Store, lock_of
from pipelines.store.lineage import stored
from pipelines.store.live_runs import LIVE, live_runs
from pipelines.store.removal import size_of
from pipelines.store.run_records import is_ahead, read_record
from pipelines.store.settings import Settings
from pipelines.upkeep.collect import collect, leftovers_in, remains
from pipelines.upkeep.findings import FIX, Finding
from pipelines.upkeep.garbage import DAY, Item, Policy, stale
from pipelines.upkeep.home_modes import close_to_others, open_to_others

LEFT = ("unfinished", "unfinished copy", "partial work", "lock")  # by killed runs


def artifacts(settings: Settings, digests: bool = False) -> Iterator[Finding]:
    """Damaged artifacts on this machine, checked by size or by digest."""
    store = Store(settings.store.root, digests=digests)
    known, wrong = list(stored(store)), 0
    progress = settings.progress("doctor")
    for done, one in enumerate(known):
        progress(done, len(known), "artifacts")
        if harm := store.damage(one):
            wrong += 1
            yield _damaged(store, one.stage, one.key, harm, one.manifest.get("pipeline"))
    for left in leftovers_in(store):
        if left.kind == "damaged artifact" and left.key and not left.busy:
            wrong += 1
            stage, key = left.path.parent.name, left.path.name
            yield _damaged(store, stage, key, store.remains(stage, key) or "it is gone")
    if not wrong:
        by = "digest" if digests else "size"
        yield Finding("artifacts", "ok", f"{len(known)}, each file checked by its {by}")


def _damaged(store: Store, stage: str, key: str, harm: str, pipeline: str | None = None) -> Finding:
    again = f"folio run {pipeline}" if pipeline else "the next run that needs it"
    return Finding(
        "artifacts",
        "problem",
        f"{store.root / stage / key[:12]}… is damaged: {harm}",
        f"set it aside with: {FIX}; {again} rebuilds it",
        partial(_set_aside, store, stage, key),
    )


def _set_aside(store: Store, stage: str, key: str) -> str:
    """Checks again when nobody else works on that key."""
    file = try_lock(lock_of(store.root / stage, key))
    if file is None:
        return f"skipped the {stage} artifact {key[:12]}, which a run is using"
    with file:
        found = store.find(stage, key)
        if found is not None and store.damage(found) is None:
            return f"the {stage} artifact {key[:12]} is intact again"
        if found is None and not store.remains(stage, key):
            return f"the {stage} artifact {key[:12]} is gone"
        return f"moved the damaged {stage} artifact to {store.set_aside(stage, key)}"


def set_aside(settings: Settings) -> Iterator[Finding]:
    """Artifacts that were found damaged before and are kept for inspection."""
    folder = settings.store.root / ".damaged"
    count = len(list(folder.glob("*")))
    if count:
        yield Finding(
            "damaged",
            "warning",
            f"{_counted(count, 'artifact')} set aside in {folder}, "
            f"{size_of(folder) / 1e6:,.1f} MB; more than one may indicate a failing disk",
            "inspect them, then: folio gc --yes, which deletes them after a week",
        )


def leftovers(settings: Settings) -> Iterator[Finding]:
    """Partial work of killed runs in the store, at least a day old, that nothing will continue
    from."""
    store, now = Store(settings.store.root), time.time()
    found = [*leftovers_in(store), *remains(settings.home, now)]
    old = {one.path for one in found if one.kind in LEFT and now - one.changed > DAY}
    items = [item for item in stale(found, stored(store), now, Policy()) if item.path in old]
    if items:
        size = sum(size_of(item.path) for item in items if item.path)
        yield Finding(
            "leftovers",
            "warning",
            f"{_counted(len(items), 'leftover')} of killed runs, "
            f"{size / 1e6:,.1f} MB, such as {items[0].path}",
            "folio gc --yes",
            partial(_remove, settings, items),
        )


def _remove(settings: Settings, items: list[Item]) -> str:
    problems: list[str] = []
    gone = collect(items, settings, Policy(), time.time(), problems.append)
    stayed = f"; could not remove {'; '.join(problems)}" if problems else ""
    return f"removed {_counted(len(gone), 'leftover')} of killed runs{stayed}"


def modes(home: Path) -> Iterator[Finding]:
    """Whether others can access the home's files."""
    found = open_to_others(home)
    if found:
        whom = "its group cannot use, or others can read" if is_shared() else "others can read"
        yield Finding(
            "modes",
            "warning",
            f"{len(found)} of the home's folders and files that {whom}, such as {found[0]}",
            FIX,
            partial(_close, home),
        )


def _close(home: Path) -> str:
    return f"set the permissions of {close_to_others(home)} folders and files of {home}"


def records(settings: Settings) -> Iterator[Finding]:
    """Run records that are unreadable or dated in the future, and runs that take suspiciously
    long."""
    for path, error in settings.runs.read_all()[1].items():
        yield Finding(
            "records",
            "warning",
            f"{error}: not a run record; that run is not listed, and its artifacts are kept",
            f"set it aside with: {FIX}",
            partial(_aside, path, read_record),
        )
    for record in filter(is_ahead, settings.runs):
        yield Finding(
            "records",
            "warning",
            f"run {record['run']} is dated {record['started']}, in the future: a clock is "
            "or was wrong; the runs dated before now count as newer",
            "if this clock is wrong: timedatectl set-ntp true; otherwise nothing to do",
        )
    yield from _long(live_runs(settings.runs.folder), datetime.now(UTC))


def journal(settings: Settings) -> Iterator[Finding]:
    """Whether the journal and its pending file are readable; `folio verify` says whether they are
    unchanged."""
    kept, note = journal_of(settings.home), pending_path(settings.home)
    if not kept.is_whole():
        problem = (
            next(kept.problems(), f"{kept.path}: incomplete")
            if kept.path.is_file()
            else (f"{kept.path}: cannot be read")
        )
        yield Finding(
            "journal",
            "problem",
            f"{problem}; folio gc deletes no versions in the meantime",
            "restore it from a copy of the home, or remove a line that somebody "
            "inserted; folio verify checks it",
        )
    try:
        read_pending(note)
    except FileNotFoundError:
        return
    except UnreadableError as error:
        yield Finding(
            "journal",
            "warning",
            f"{error}; the registry's champions are authoritative",
            f"set it aside with: {FIX}",
            partial(_aside, note, read_pending),
        )


def _aside(path: Path, read: Callable[[Path], Any]) -> str:
    """Checks again, as somebody may have written it in the meantime."""
    try:
        read(path)
    except FileNotFoundError:
        pass
    except UnreadableError:
        return f"moved {path} to {small_files.set_aside(path).name}"
    return f"{path} is intact again"


def _long(live: Iterable[dict], now: datetime) -> Iterator[Finding]:
    for run in live:
        if "pid" not in run:
            yield Finding(
                "records",
                "warning",
                f"run {run['run']} is active, but its file in runs/{LIVE} is unreadable; "
                "folio gc deletes no artifacts in the meantime",
                "give it to the user who runs Folio (chown), or remove it when nothing is running",
            )
        since = run.get("started")
        if since and (now - datetime.fromisoformat(since)).total_seconds() > DAY:
            yield Finding(
                "records",
                "warning",
                f"run {run['run']} has been active since {moment(since)} (process "
                f"{run.get('pid')} of {run.get('host')})",
                f"check it; if it hangs: kill {run.get('pid')}",
            )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shared_store(settings: Settings) -> Iterator[Finding]:
    """Whether FOLIO_STORE answers, if it is set. Raises FolioError if not."""
    if settings.store.remote is not None:
        valid = [
            one for one in homes.lists(settings.store.remote.place).values() if one[0] > time.time()
        ]
        text = f"{settings.store.remote} answers; homes that use it: {len(valid)}"
        yield Finding("shared store", "ok", text)
