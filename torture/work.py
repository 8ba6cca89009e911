"""What the forked processes do: one run, or one plan, as plain Python does it without Prefect."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from pipelines.declaration.load import load_spec
from pipelines.errors import FolioError
from pipelines.files.home import private_files
from pipelines.files.machine import one_line
from pipelines.run.plan import plan
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings


def run(home: str, pipeline: str, answer: str | None = None) -> int:
    """The run's record as JSON in the file `answer`."""
    return _answered(answer, lambda: retrain_plain(pipeline, settings=Settings.at(Path(home))))


def foresee(home: str, pipeline: str, answer: str) -> int:
    """The plan as JSON in the file `answer`."""

    def planned() -> list[dict[str, Any]]:
        return [one.as_json() for one in plan(load_spec(pipeline), Settings.at(Path(home)))]

    return _answered(answer, planned)


def _answered(answer: str | None, work: Any) -> int:
    try:
        with private_files():
            found = work()
    except FolioError as error:
        print(f"folio: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    if answer:
        Path(answer).write_text(json.dumps(found), encoding="utf-8")
    return 0
