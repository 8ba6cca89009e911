"""Which cron expressions are accepted: those that Prefect reads as they are written."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipelines.declaration.load import load_spec
from pipelines.declaration.schedule_section import SHORT, ScheduleSpec
from pipelines.errors import UsageError
from tests.conftest import REVIEWS


@pytest.mark.parametrize(
    ("cron", "message"),
    [
        ("0 0 3 * * *", "6 fields instead of 5; there are no seconds"),
        ("*/10 0 3 * * *", "6 fields instead of 5"),
        ("0 3 * *", "4 fields instead of 5"),
        ("", "0 fields instead of 5"),
        ("0 3 * * * * *", "7 fields instead of 5"),
        ("0 3 * * 5L", "weekday '5L' is not read the same by Prefect"),
        ("0 3 * * L5", "weekday 'L5' is not read the same by Prefect"),
        ("0 3 LW * *", "day 'LW' is not read the same"),
        ("0 3 */2 * 1", r"day '\*/2' together with weekday '1' is not read the same"),
        ("0 0 */2 * 1", r"day '\*/2' together with weekday '1' is not read the same"),
        ("0 3 1 * */2", r"day '1' together with weekday '\*/2'"),
        ("0 3 L * 1", "day 'L' together with weekday '1'"),
        ("0 3 1 * fri#1", "day '1' together with weekday 'fri#1'"),
        ("0 3 ? * 1", "day '?' is not read the same"),
        ("0 3 * * 1-1", "weekday '1-1' is not read the same"),
        ("0 22-2 * * *", "hour '22-2' is not read the same"),
        ("0/5 * * * *", "minute '0/5' is not read the same"),
        ("*,5 * * * *", r"minute '\*,5' is not read the same"),
        ("H 3 * * *", "minute 'H' is not read the same"),
        ("61 * * * *", "Bad minute"),
        ("*/0 * * * *", "Bad minute"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("0 0 31 4,6 *", "Bad day-of-month"),
        ("@reboot", "known are @hourly, @daily"),
    ],
)
def test_what_would_be_read_otherwise_is_refused(declare, cron: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("?", r"\?")):
        ScheduleSpec(cron=cron)
    path = declare("planned", f"{REVIEWS}schedule: {{{{cron: {cron!r}}}}}\n")
    with pytest.raises(UsageError, match=r":11: schedule: cron .*; write minute hour") as error:
        load_spec(str(path))
    assert "\n" not in str(error.value) and "http" not in str(error.value)


@pytest.mark.parametrize("short", SHORT)
def test_short_forms_are_written_out(short: str) -> None:
    assert ScheduleSpec(cron=short).cron == ScheduleSpec(cron=f" {short.upper()} ").cron
    assert ScheduleSpec(cron=short).cron == SHORT[short]


@pytest.mark.parametrize(
    "cron", ["0 3 * * *", "*/20 0-5 1,15 jan-JUN/2 *", "5 4 L * *", "0 0 * * fri#2"]
)
def test_what_all_read_the_same_is_left_as_written(cron: str) -> None:
    assert ScheduleSpec(cron=cron).cron == cron
