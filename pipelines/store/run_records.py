"""Run records: one JSON file per run, written when it ends. `folio runs` and `show` read them."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError, UsageError
from pipelines.files.home import made
from pipelines.files.names import unsafe
from pipelines.files.small_files import read_object
from pipelines.files.whole_files import write_json
from pipelines.stages import NAMES
from pipelines.store.artifacts import Store
from pipelines.store.manifest import KEY

KEEP_LOOKING = 200  # number of records to search for a stage's earlier manifest
AHEAD = timedelta(minutes=5)  # a record dated later than this was written with a wrong clock
LONGEST = 1e9  # seconds; 30 years
STAMP, ID = "%Y%m%d-%H%M%S", re.compile(r"\d{8}-\d{6}-")  # how an id begins
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
Record = dict[str, Any]
Kinds = tuple[type, ...]
NUMBER: Kinds = (int, float)
TEXT: Kinds = (str, type(None))
ALWAYS: dict[str, type | Kinds] = {
    "run": str,
    "pipeline": str,
    "profile": str,
    "sample": bool,
    "started": str,
    "state": str,
    "seconds": NUMBER,
    "stages": list,
}
# Fields that records of earlier versions may lack: the default, and the allowed types.
ELSE: dict[str, tuple[Any, Kinds]] = {
    "metrics": ({}, (dict,)),
    "version": (None, (int, type(None))),
    "verdict": (None, TEXT),
    "reason": (None, TEXT),
    "report": (None, TEXT),
    "error": (None, TEXT),
    "stale": ([], (list,)),
    "drift": (None, (dict, type(None))),
    "overrides": ([], (list,)),
}
OF_A_STAGE: dict[str, tuple[Any, Kinds]] = {
    "action": ("", (str,)),
    "reason": ("", (str,)),
    "seconds": (0.0, NUMBER),
    "path": (None, TEXT),
    "key": (None, TEXT),
}
KINDS = ALWAYS | {name: kinds for name, (_, kinds) in ELSE.items()}
KINDS_OF_A_STAGE = {name: kinds for name, (_, kinds) in OF_A_STAGE.items()}
MISSING = {name: default for name, (default, _) in ELSE.items()}
MISSING_OF_A_STAGE = {name: default for name, (default, _) in OF_A_STAGE.items()}
OF_DRIFT = {"version", "same_text", "measures", "drifted"}


class Runs:
    """The records under `folder`, newest first; those dated in the future come last."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def new_id(pipeline: str) -> str:
        """Sorts by time, for one pipeline also within a second; unique even if two runs start at
        once."""
        now = time.time()
        stamp = time.strftime(STAMP, time.gmtime(now))
        return f"{stamp}-{pipeline}-{int(now % 1 * 16**3):03x}{secrets.randbelow(16**3):03x}"

    def save(self, record: Record) -> None:
        made(self.folder)
        write_json(self.folder / f"{record['run']}.json", record)

    def __iter__(self) -> Iterator[Record]:
        """Unreadable records are skipped; `read_all` has them."""
        ahead = []
        for path in self._paths():
            try:
                record = read_record(path)
            except (FileNotFoundError, UnreadableError):
                continue
            if is_ahead(record):
                ahead.append(record)
            else:
                yield record
        yield from ahead

    def read_all(self) -> tuple[list[Record], dict[Path, UnreadableError]]:
        """The records, and the files that are not valid ones, with what is wrong with each."""
        found: tuple[list[Record], list[Record]] = [], []
        unreadable = {}
        for path in self._paths():
            try:
                record = read_record(path)
            except FileNotFoundError:
                continue
            except UnreadableError as error:
                unreadable[path] = error
            else:
                found[is_ahead(record)].append(record)
        return found[0] + found[1], unreadable

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("[!.]*.json"), key=_time_first, reverse=True)

    def checked(self, record: Record) -> Record:
        """Like `checked`, for a record that is to be saved here."""
        return checked(record, self.folder / f"{record.get('run')}.json")

    def has(self, run: str) -> bool:
        return (self.folder / f"{run}.json").is_file()

    def get(self, run: str) -> Record:
        """The record whose id is `run`, or the only one that starts with it."""
        if run == "latest":
            for record in self:
                return record
            raise UsageError("there are no runs yet; start with: folio run NAME")
        found = [record for record in self if record["run"].startswith(run)]
        exact = [record for record in found if record["run"] == run]
        if len(exact or found) != 1:
            count = "no run" if not found else f"{len(found)} runs"
            raise UsageError(f"{count} named {run!r}; `folio runs` lists them")
        return (exact or found)[0]

    def previous_manifest(self, store: Store, pipeline: str, stage: str) -> dict[str, Any] | None:
        """The manifest of the artifact that the pipeline's latest run had for a stage."""
        for index, record in enumerate(self):
            if index == KEEP_LOOKING:
                return None
            if record["pipeline"] != pipeline:
                continue
            for entry in record["stages"]:
                artifact = entry["stage"] == stage and store.find(stage, entry.get("key") or "")
                if artifact:
                    return artifact.manifest
        return None


class RunsRead(Runs):
    """The records as they were when they were read."""

    def __init__(self, folder: Path, records: list[Record]) -> None:
        super().__init__(folder)
        self._records = records

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)


def _time_first(path: Path) -> str:
    """An id begins with its time. A name that somebody chose is placed by the time of its file."""
    if ID.match(path.name):
        return path.name
    with suppress(OSError):  # it was just deleted
        stamp = time.strftime(STAMP, time.gmtime(path.lstat().st_mtime))
        return f"{stamp}-{path.name}"
    return path.name


def is_ahead(record: Record, now: datetime | None = None) -> bool:
    """Whether it is dated in the future, so that its date is meaningless."""
    return datetime.fromisoformat(record["started"]) > (now or datetime.now(UTC)) + AHEAD


def read_record(path: Path) -> Record:
    """The record in a file. Raises FileNotFoundError, or UnreadableError if it is invalid."""
    return checked(read_object(path), path)


def checked(found: Record, path: Path) -> Record:
    """The record of any version of Folio, with missing fields filled in; `path` is its file. Raises
    UnreadableError if it is invalid."""
    record = MISSING | found
    for name, kind in KINDS.items():
        if not isinstance(record.get(name), kind):
            raise UnreadableError(f"{path}: its {name!r} is missing or has the wrong type")
    if record["run"] != path.stem or unsafe(record["run"]):
        raise UnreadableError(f"{path}: belongs to another run")
    if not 0 <= record["seconds"] < LONGEST:
        raise UnreadableError(f"{path}: its 'seconds' are not a valid duration")
    if not is_time(record["started"]):
        raise UnreadableError(f"{path}: its 'started' is not a valid time")
    if record["drift"] is not None and not record["drift"].keys() >= OF_DRIFT:
        raise UnreadableError(f"{path}: its 'drift' is incomplete")
    store = str(path.absolute().parent.parent / "store")
    stages = [_moved(_stage(entry, path), store) for entry in record["stages"]]
    folder = next((one["path"] for one in stages if one["stage"] == "report"), None)
    report = record["report"] and folder and str(Path(folder) / Path(record["report"]).name)
    return record | {"stages": stages, "report": report or record["report"]}


def _stage(found: Any, path: Path) -> Record:
    """A stage's entry; its name and key must be those of a folder in the store."""
    entry = MISSING_OF_A_STAGE | (found if isinstance(found, dict) else {})
    right = (
        entry.get("stage") in NAMES
        and (entry["key"] is None or bool(KEY.fullmatch(str(entry["key"]))))
        and all(isinstance(entry[name], kinds) for name, kinds in KINDS_OF_A_STAGE.items())
    )
    if not right:
        raise UnreadableError(f"{path}: the entry of a stage is invalid")
    return entry


def _moved(entry: Record, store: str) -> Record:
    """With the artifact's path in this home, which may have been copied or moved."""
    if entry["path"] is None or entry["key"] is None:
        return entry
    return entry | {"path": os.path.join(store, entry["stage"], entry["key"])}


def is_time(text: object) -> bool:
    """Whether it is a time in the format of records, such as 2026-01-31T04:05:06Z."""
    if not isinstance(text, str) or not TIME.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:  # the 31st of June
        return False
    return True
