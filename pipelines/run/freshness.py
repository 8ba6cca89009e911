"""Whether a pipeline has run on schedule. Pure: the clock is a parameter."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.declaration.schedule_section import ScheduleSpec
from pipelines.store.run_records import is_ahead
from pipelines.store.times import utc

PATIENCE = timedelta(hours=1)  # minimum, before a run that is due counts as late
NEAR = timedelta(hours=3)  # more than clocks are ever changed by
TIMES_AS_LONG = 2  # times the last run's duration: how long the next may take


def freshness(
    schedule: ScheduleSpec | None, records: Iterable[dict[str, Any]], now: datetime
) -> dict[str, Any]:
    """{state, last, due, next}: fresh, late, no scheduled run yet or no schedule, and three times.

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
    state = "no scheduled run yet"
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

    local = _local(schedule, now)
    passed = [time for time in _near(schedule, local) if time <= now]
    if passed:
        return max(passed)
    earlier = next(CronSim(schedule.cron, local - NEAR, reverse=True), None)
    return earlier and _instant(schedule, earlier)


def next_due(schedule: ScheduleSpec, now: datetime) -> datetime | None:
    """The first scheduled time after `now`."""
    from cronsim import CronSim

    local = _local(schedule, now)
    coming = [time for time in _near(schedule, local) if time > now]
    if coming:
        return min(coming)
    later = next(CronSim(schedule.cron, local + NEAR), None)
    return later and _instant(schedule, later)


def _local(schedule: ScheduleSpec, now: datetime) -> datetime:
    zone = ZoneInfo(schedule.timezone)
    return now.astimezone(zone).replace(microsecond=0, tzinfo=None)


def _near(schedule: ScheduleSpec, local: datetime) -> Iterator[datetime]:
    """The scheduled times around a local one: while clocks change, these are not in order."""
    from cronsim import CronSim

    for time in CronSim(schedule.cron, local - NEAR - timedelta(seconds=1)):
        if time > local + NEAR:
            return
        yield _instant(schedule, time)


def _instant(schedule: ScheduleSpec, local: datetime) -> datetime:
    """When clocks show a local time, as Prefect takes it: the first time of two; and for an hour
    that is skipped an hour before (Python 3.13: after) the next one."""
    zone = ZoneInfo(schedule.timezone)
    first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    is_skipped = second < first
    return second if is_skipped and sys.version_info < (3, 13) else first
