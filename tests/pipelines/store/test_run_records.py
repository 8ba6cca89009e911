"""What runs are called, which also says which was the latest."""

from __future__ import annotations

import json
import resource
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.store.live_runs import living
from pipelines.store.run_records import Runs, is_ahead
from pipelines.store.times import utc


def record(run: str, **more: Any) -> dict[str, Any]:
    return {
        "run": run,
        "pipeline": "play",
        "profile": "full",
        "sample": False,
        "state": "done",
        "started": "2026-11-01T06:30:00Z",
        "seconds": 1.5,
        "stages": [],
        **more,
    }


def test_of_runs_within_one_second_the_latest_is_the_last(tmp_path: Path) -> None:
    runs, made = Runs(tmp_path), []
    for _ in range(50):
        made.append(Runs.new_id("play"))
        runs.save(record(made[-1]))
        time.sleep(0.001)
    assert [record["run"] for record in runs] == made[::-1]
    assert runs.get("latest")["run"] == made[-1] and len(set(made)) == 50


def test_a_run_dated_ahead_is_not_the_latest_for_long(tmp_path: Path) -> None:
    runs, now = Runs(tmp_path), datetime.now(UTC)
    ahead = record("20991231-000000-play-0001", started="2099-12-31T00:00:00Z")
    runs.save(ahead)
    assert runs.get("latest")["run"] == ahead["run"]  # the only one
    dates = {
        run: utc(now - age)
        for run, age in (
            ("20261101-000000-play-0001", timedelta(days=1)),
            ("20261102-000000-play-0002", timedelta(0)),
        )
    }
    for run, started in dates.items():
        runs.save(record(run, started=started))
    assert [one["run"] for one in runs] == [*reversed(dates), ahead["run"]]
    assert runs.get("latest")["run"] == "20261102-000000-play-0002"
    assert is_ahead(ahead) and not is_ahead(ahead, datetime(2100, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "change",
    [
        {"run": "../../elsewhere"},
        {"stages": [{"stage": "../../..", "key": None}]},
        {"stages": [{"stage": "model", "key": "../../../x"}]},
        {"stages": ["model"]},
        {"started": "2026-02-30T00:00:00Z"},
        {"started": "soon"},
        {"seconds": 1e300},
        {"seconds": float("nan")},
        {"metrics": []},
        {"version": "1"},
        {"drift": {"drifted": []}},
    ],
)
def test_a_record_that_says_what_no_run_wrote_is_none(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    runs = Runs(tmp_path)
    for run in ("a-run", "another"):
        runs.save(record(run))
    path = tmp_path / "a-run.json"
    path.write_text(json.dumps(record("a-run") | change))
    assert [one["run"] for one in runs] == ["another"]
    assert list(runs.read_all()[1]) == [path]


def test_a_record_that_finds_no_room_leaves_nothing_behind(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        with pytest.raises(OSError, match="File too large"):
            runs.save(record("big", reason="x" * 5000))
        with (
            pytest.raises(OSError, match="File too large"),
            living(tmp_path, record("big", reason="x" * 5000)),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
