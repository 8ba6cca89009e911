"""Run records: one JSON file a run, written when it ends. What `folio runs` and `show` read."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.errors import UsageError
from pipelines.home import made
from pipelines.store import Store, write_json

KEEP_LOOKING = 200  # records searched for what a stage was before


class Runs:
    """The records under `folder`, newest first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @staticmethod
    def new_id(pipeline: str) -> str:
        """Sorts by time, of one pipeline also within a second; unique even when two runs start at
        once."""
        now = time.time()
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        return f"{stamp}-{pipeline}-{int(now % 1 * 16**3):03x}{secrets.randbelow(16**3):03x}"

    def save(self, record: dict[str, Any]) -> None:
        made(self.folder)
        write_json(self.folder / f"{record['run']}.json", record)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for path in sorted(self.folder.glob("[!.]*.json"), reverse=True):
            try:
                yield json.loads(path.read_bytes())
            except (OSError, json.JSONDecodeError):
                continue  # a record cut short by a full disk hides no other

    def has(self, run: str) -> bool:
        return (self.folder / f"{run}.json").is_file()

    def get(self, run: str) -> dict[str, Any]:
        """The record whose id is `run`, or the only one that begins with it."""
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
