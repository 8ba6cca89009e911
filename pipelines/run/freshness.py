"""Whether a pipeline has run when its schedule wanted it. Pure: the clock is given."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pipelines.declaration.spec import ScheduleSpec
from pipelines.store.run_records import is_ahead
from pipelines.store.times import utc

PATIENCE = timedelta(hours=1)  # at least, before a run that is due counts as late
TIMES_AS_LONG = 2  # as the last run took: how long the next may take


def freshness(
    schedule: ScheduleSpec | None, records: Iterable[dict[str, Any]], now: datetime
) -> dict[str, Any]:
    """{state, last, due, next}: fresh, late, never ran or no schedule, and three times.

    `records` are the pipeline's, newest first. `last` is when the newest run began that did what
    the schedule wants; `due` when one was wanted last, `next` when the next will be (UTC, or None).
    A due run has as long as the one before it, twice, before its pipeline is late. A run that is
    dated ahead of `now`, by a clock that was wrong, says nothing.
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
    """Whether a run did all that the schedule wants, with the declared values, on the real text."""
    stages = [entry["stage"] for entry in record["stages"]]
    return (
        record["profile"] == schedule.profile
        and record["state"] != "failed"
        and "release" in stages
        and not record["sample"]
        and not record.get("overrides")
    )


def last_due(schedule: ScheduleSpec, now: datetime) -> datetime | None:
    """The latest time, `now` included, at which the schedule wants a run."""
    from cronsim import CronSim

    # Backwards it begins with the second before the one that it is given.
    after = _whole(now + timedelta(seconds=1), schedule)
    return next(CronSim(schedule.cron, after, reverse=True), None)


def next_due(schedule: ScheduleSpec, now: datetime) -> datetime | None:
    """The first time after `now` at which the schedule wants a run."""
    from cronsim import CronSim

    return next(CronSim(schedule.cron, _whole(now, schedule)), None)


def _whole(time: datetime, schedule: ScheduleSpec) -> datetime:
    return time.astimezone(ZoneInfo(schedule.timezone)).replace(microsecond=0)
