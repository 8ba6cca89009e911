"""Asks Prefect when it would run a schedule."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice

from pipelines.declaration.schedule_section import ScheduleSpec
from pipelines.errors import UsageError
from pipelines.run.freshness import next_due

EACH = 5  # times compared, once a month: Prefect overlooks days at the ends of some months
MONTHS, MONTH = 14, timedelta(days=27)


def refuse_misread(pipeline: str, schedule: ScheduleSpec, now: datetime | None = None) -> None:
    """Raises UsageError if Prefect would run at other times than the declaration says."""
    from prefect.server.schemas.schedules import CronSchedule

    prefect = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    for month in range(MONTHS):
        start = (now or datetime.now(UTC)).replace(microsecond=0) + month * MONTH
        theirs = [time.astimezone(UTC) for time in asyncio.run(prefect.get_dates(EACH, start))]
        ours = list(islice(_upcoming(schedule, start), EACH))
        for their, our in zip(theirs, ours, strict=False):
            if their != our:
                raise UsageError(
                    f"{pipeline}: schedule.cron {schedule.cron!r}: Prefect would run at "
                    f"{their:%Y-%m-%d %H:%M} UTC instead of {our:%Y-%m-%d %H:%M}; write it in "
                    "another way"
                )


def _upcoming(schedule: ScheduleSpec, start: datetime) -> Iterator[datetime]:
    time = next_due(schedule, start - timedelta(seconds=1))
    while time is not None:
        yield time
        time = next_due(schedule, time)
