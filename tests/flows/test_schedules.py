"""The times that Folio shows are those at which Prefect runs, also in nights when clocks change."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from pydantic import ValidationError

from flows.schedules import refuse_misread
from pipelines.declaration.catalog import shipped_names
from pipelines.declaration.load import load_spec
from pipelines.declaration.schedule_section import SHORT, ScheduleSpec
from pipelines.errors import UsageError
from pipelines.run.freshness import last_due, next_due

pytestmark = pytest.mark.slow  # imports Prefect
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo")
FORWARD, BACK = datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 24, tzinfo=UTC)  # Berlin


def dates(schedule: ScheduleSpec, start: datetime, count: int) -> list[datetime]:
    """When Prefect runs it, after `start`."""
    from prefect.server.schemas.schedules import CronSchedule

    asked = CronSchedule(cron=schedule.cron, timezone=schedule.timezone)
    found = asyncio.run(asked.get_dates(count, start + timedelta(seconds=1)))
    return [date.astimezone(UTC) for date in found]


def shown(schedule: ScheduleSpec, start: datetime, count: int) -> list[datetime]:
    found = [start]
    for _ in range(count):
        found.append(next_due(schedule, found[-1]))
    return [time.astimezone(UTC) for time in found[1:]]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", ["0 * * * *", "30 2 * * *", "*/30 1-3 * * *", "0 4 * * 0"])
@pytest.mark.parametrize("start", [FORWARD, BACK, BACK - timedelta(days=20)])
def test_times_are_prefects(zone: str, cron: str, start: datetime) -> None:
    schedule = ScheduleSpec(cron=cron, timezone=zone)
    times = shown(schedule, start, 30)
    assert times == dates(schedule, start, 30)
    for before, time in pairwise(times):
        assert last_due(schedule, time) == time
        assert last_due(schedule, time - timedelta(seconds=1)) == before


def test_what_is_accepted_is_read_as_prefect_reads_it() -> None:
    """Random expressions; days of the month from the 29th are left to `refuse_misread`."""
    chosen, bounds = random.Random(3), ((0, 59), (0, 23), (1, 28), (1, 12), (0, 7))

    def field(low: int, high: int) -> str:
        first, second = sorted(chosen.sample(range(low, high + 1), 2))
        step = chosen.randint(1, 9)
        forms = ["*", "*", f"*/{step}", f"{first}", f"{first},{second}", f"{first}-{second}"]
        return chosen.choice([*forms, f"{first}-{second}/{step}", f"{second}-{first}", "5L", "L"])

    accepted = refused = 0
    while accepted < 60:
        cron = " ".join(field(*ends) for ends in bounds)
        try:
            schedule = ScheduleSpec(cron=cron)
        except ValidationError:
            refused += 1
            continue
        if "*/" in cron.split()[2]:
            continue  # contains the 29th
        accepted += 1
        assert shown(schedule, BACK, 5) == dates(schedule, BACK, 5), cron
    assert refused


def test_days_that_prefect_overlooks_are_refused() -> None:
    for cron in ("0 3 1,15,31 * *", "0 3 */6 * *", "0 3 */15 * *"):
        with pytest.raises(UsageError, match=r"words: schedule\.cron .*Prefect would run at 20"):
            refuse_misread("words", ScheduleSpec(cron=cron), FORWARD)
    for cron in (*SHORT, "0 3 L * *", "0 3 31 * *", "0 3 */2 * *"):
        refuse_misread("words", ScheduleSpec(cron=cron), FORWARD)


def test_the_catalogs_schedules_are_read_the_same() -> None:
    for name in shipped_names():
        refuse_misread(name, load_spec(name).schedule)
