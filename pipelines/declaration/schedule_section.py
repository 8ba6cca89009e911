"""When a pipeline is retrained automatically: cron expressions that Prefect reads as Folio does."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache
from typing import Any

from pydantic import Field, field_validator, model_validator

from pipelines.declaration.section_base import Section

SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
FIELDS = ("minute", "hour", "day", "month", "weekday")
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
NUMBERS = {name: n for n, name in enumerate(MONTHS, 1)} | {name: n for n, name in enumerate(DAYS)}
PART = re.compile(r"(\w+)(?:-(\w+)(?:/\d+)?)?", re.ASCII)
STARRED = re.compile(r"\*(/\d+)?", re.ASCII)
LAST_DAY, NTH_DAY = re.compile("L"), re.compile(r"\w+#[1-5]", re.ASCII)
NEVER = re.compile("(?!)")
SPECIAL = {"day": LAST_DAY, "weekday": NTH_DAY}


class ScheduleSpec(Section):
    """When a deployment retrains automatically."""

    cron: str = Field(
        description="minute hour day month weekday, such as 0 3 * * *; or @daily and the like"
    )
    timezone: str = Field("UTC", description="the time zone of cron, such as Europe/Berlin")
    profile: str = Field("full", description="the profile to run")

    @field_validator("cron")
    @classmethod
    def _written_out(cls, given: str) -> str:
        return SHORT.get(given.strip().lower(), given)

    @model_validator(mode="after")
    def _possible(self) -> ScheduleSpec:
        if self.timezone not in _timezones():
            raise ValueError(f"timezone {self.timezone!r} is unknown; write it like Asia/Tokyo")
        if problem := _misread(self.cron):
            raise ValueError(
                f"cron {self.cron!r}: {problem}; write minute hour day month weekday, such as "
                "0 3 * * *"
            )
        return self


@cache
def _timezones() -> set[str]:
    from zoneinfo import available_timezones

    return available_timezones()


def _misread(cron: str) -> str | None:
    """Why Prefect would refuse the expression, or run at other times than it seems to say."""
    from cronsim import CronSim, CronSimError

    fields = dict(zip(FIELDS, parts := cron.split(), strict=False))
    if cron.startswith("@"):
        return f"known are {', '.join(SHORT)}"
    if len(parts) != len(FIELDS):
        return f"{len(parts)} fields instead of 5" + ("; there are no seconds" * (len(parts) == 6))
    if unread := next((name for name in FIELDS if not _agreed(name, fields[name])), None):
        return f"{unread} {fields[unread]!r} is not read the same by Prefect"
    day, weekday = fields["day"], fields["weekday"]
    if "*" not in (day, weekday) and re.search(r"[*#L]", day + weekday):
        return f"day {day!r} together with weekday {weekday!r} is not read the same by Prefect"
    try:
        CronSim(cron, datetime(2000, 1, 1))
    except CronSimError as error:
        return str(error)
    return None


def _agreed(name: str, field: str) -> bool:
    """Whether a field has only the forms that all readers of cron share."""
    if STARRED.fullmatch(field) or SPECIAL.get(name, NEVER).fullmatch(field):
        return True
    return all(map(_is_value, field.split(",")))


def _is_value(part: str) -> bool:
    found = PART.fullmatch(part)
    if not found:
        return False
    ends: list[Any] = [_number(end) for end in found.groups() if end is not None]
    return None not in ends and (len(ends) == 1 or ends[0] < ends[1])


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else NUMBERS.get(text.lower())
