"""Whether a pipeline has run on schedule. Pure: the clock is a parameter."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.declaration.spec import ScheduleSpec
from pipelines.store.run_records import is_ahead
from pipelines.store.times import utc

PATIENCE = timedelta(hours=1)  # minimum, before a run that is due counts as late
TIMES_AS_LONG = 2  # times the last run's duration: how long the next may take


def freshness(
    schedule: ScheduleSpec | None, records: Iterable[dict[str, Any]], now: datetime
) -> dict[str, Any]:
    """{state, last, due, next}: fresh, late, never ran or no schedule, and three times.

    `records` are the pipeline's, newest first. `last` is the start of the newest run that counts
    for the schedule; `due` the last scheduled time, `next` the next one (UTC, or None). A pipeline
    is late only if a due run has taken twice as long as the one before it. Runs dated after `now`,
    with a wrong clock, are ignored.
    """
    if schedule is None:
        return {"state": "no schedule", "last": None, "due": None, "next": None}
    last = next(
        (record for record in records if serves(record, schedule) and not is_ahead(record, now)),
        None,
    )
    state = "never ran"
    if last is not None:
        patience = max(PATIENCE, TIMES_AS_LONG * timedelta(seconds=last["seconds"]))
        wanted = last_due(schedule, now - patience)
        began = datetime.fromisoformat(last["started"])
        state = "fresh" if wanted is None or began >= wanted else "late"
    return {
        "state": state,
        "last": last["started"] if last else None,
        "due": utc(last_due(schedule, now)),
        "next": utc(next_due(schedule, now)),
    }


def serves(record: dict[str, Any], schedule: ScheduleSpec) -> bool:
    """Whether a run counts for the schedule: complete, with the declared values, on the real
    text."""
    stages = [entry["stage"] for entry in record["stages"]]
    return (
        record["profile"] == schedule.profile
        and record["state"] != "failed"
        and "release" in stages
        and not record["sample"]
        and not record.get("overrides")
    )


def last_due(schedule: ScheduleSpec, now: datetime) -> datetime | None:
    """The latest scheduled time up to and including `now`."""
    from cronsim import CronSim

    # Going backwards, it starts with the second before the given one.
    after = _whole(now + timedelta(seconds=1), schedule)
    return next(CronSim(schedule.cron, after, reverse=True), None)


def next_due(schedule: ScheduleSpec, now: datetime) -> datetime | None:
    """The first scheduled time after `now`."""
    from cronsim import CronSim

    return next(CronSim(schedule.cron, _whole(now, schedule)), None)


def _whole(time: datetime, schedule: ScheduleSpec) -> datetime:
    return time.astimezone(ZoneInfo(schedule.timezone)).replace(microsecond=0)
