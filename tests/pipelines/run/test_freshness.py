"""When a run was due, and whether it came; every clock is given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pipelines.declaration.spec import ScheduleSpec
from pipelines.run.freshness import freshness, last_due, next_due
from pipelines.store.times import utc

TOKYO = ScheduleSpec(cron="0 3 * * *", timezone="Asia/Tokyo")  # 18:00 UTC
HOURLY = ScheduleSpec(cron="0 * * * *")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def record(started: str, **others: Any) -> dict[str, Any]:
    return {
        "profile": "full",
        "state": "done",
        "sample": False,
        "seconds": 60.0,
        "started": f"{started}:00Z",
        "overrides": [],
        "stages": [{"stage": "release"}],
        **others,
    }


@pytest.mark.parametrize(
    ("now", "last", "next_"),
    [
        ("2026-07-01T17:59:59", "2026-06-30T18:00:00Z", "2026-07-01T18:00:00Z"),
        ("2026-07-01T18:00:00", "2026-07-01T18:00:00Z", "2026-07-02T18:00:00Z"),
        ("2026-07-01T18:00:00.000007", "2026-07-01T18:00:00Z", "2026-07-02T18:00:00Z"),
        ("2026-07-01T18:00:01", "2026-07-01T18:00:00Z", "2026-07-02T18:00:00Z"),
    ],
)
def test_due_times_are_of_the_clock_that_the_schedule_names(
    now: str, last: str, next_: str
) -> None:
    assert (utc(last_due(TOKYO, at(now))), utc(next_due(TOKYO, at(now)))) == (last, next_)


def test_due_times_follow_the_summer_time() -> None:
    berlin = ScheduleSpec(cron="0 4 * * *", timezone="Europe/Berlin")
    assert utc(last_due(berlin, at("2026-03-28T12:00"))) == "2026-03-28T03:00:00Z"
    assert utc(next_due(berlin, at("2026-03-28T12:00"))) == "2026-03-29T02:00:00Z"


@pytest.mark.parametrize(
    ("now", "records", "state"),
    [
        ("2026-07-02T17:00", [], "no scheduled run yet"),
        ("2026-07-02T17:00", [record("2026-07-01T18:00")], "fresh"),
        ("2026-07-02T17:00", [record("2026-07-01T17:59")], "late"),
        ("2026-07-02T18:59", [record("2026-07-01T18:00")], "fresh"),  # the due one may be running
        ("2026-07-02T19:01", [record("2026-07-01T18:00")], "late"),
        ("2026-07-02T19:59", [record("2026-07-01T18:00", seconds=3600.0)], "fresh"),
        ("2026-07-02T20:01", [record("2026-07-01T18:00", seconds=3600.0)], "late"),
        ("2026-07-02T17:00", [record("2026-07-01T18:00", state="nothing-to-do")], "fresh"),
    ],
)
def test_a_pipeline_is_late_once_the_due_run_could_have_ended(
    now: str, records: list[dict[str, Any]], state: str
) -> None:
    assert freshness(TOKYO, records, at(now))["state"] == state


@pytest.mark.parametrize(
    "other",
    [
        {"state": "failed"},
        {"profile": "quick"},
        {"sample": True},
        {"overrides": ["training.epochs=1"]},
        {"stages": [{"stage": "metrics"}]},
    ],
)
def test_only_a_run_that_did_what_the_schedule_wants_counts(other: dict[str, Any]) -> None:
    wanting = record("2026-07-01T10:00", **other)
    now = at("2026-07-01T10:30")
    assert freshness(HOURLY, [wanting], now)["state"] == "no scheduled run yet"
    known = freshness(HOURLY, [wanting, record("2026-07-01T07:00")], now)
    assert known == {
        "state": "late",
        "last": "2026-07-01T07:00:00Z",
        "due": "2026-07-01T10:00:00Z",
        "next": "2026-07-01T11:00:00Z",
    }


def test_a_run_dated_ahead_by_a_wrong_clock_does_not_count() -> None:
    ahead, now = record("2027-07-01T10:00"), at("2026-07-01T10:30")
    assert freshness(HOURLY, [ahead], now)["state"] == "no scheduled run yet"
    assert freshness(HOURLY, [ahead, record("2026-07-01T10:00")], now)["state"] == "fresh"


def test_without_a_schedule_nothing_is_due() -> None:
    assert freshness(None, [record("2026-07-01T10:00")], at("2026-07-01T10:30")) == {
        "state": "no schedule",
        "last": None,
        "due": None,
        "next": None,
    }
