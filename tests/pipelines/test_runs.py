"""What runs are called, which also says which was the latest."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from pipelines.runs import Runs


def record(run: str, **more: Any) -> dict[str, Any]:
    return {"run": run, "pipeline": "play", "profile": "full", "sample": False, "state": "done",
            "started": "2026-11-01T06:30:00Z", "seconds": 1.5, "stages": [], **more}


def test_of_runs_within_one_second_the_latest_is_the_last(tmp_path: Path) -> None:
    runs, made = Runs(tmp_path), []
    for _ in range(50):
        made.append(Runs.new_id("play"))
        runs.save(record(made[-1]))
        time.sleep(0.001)
    assert [record["run"] for record in runs] == made[::-1]
    assert runs.get("latest")["run"] == made[-1] and len(set(made)) == 50
