"""How far an active run is: kept in the home so that other processes can show it, and in words.

runs/.live/<run>.progress    stage, done, total, unit, seconds left
    runs/.live/<run>.log         the lines that its stages log: one an epoch
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.errors import UnreadableError
from pipelines.files.small_files import read_object
from pipelines.files.whole_files import write_json
from pipelines.store.artifacts import Log, Progress
from pipelines.store.live_runs import log_file, progress_file
from pipelines.store.times import utc

WRITE_SECONDS = 2.0  # between two writes


def noted(runs: Path, run: str, stage: str, progress: Progress) -> Progress:
    """`progress`, also kept in the home. `runs` is the folder of the run records."""
    note = _Note(progress_file(runs, run), stage)
    note(0, None, "")

    def both(done: float, total: float | None, unit: str) -> None:
        progress(done, total, unit)
        note(done, total, unit)

    return both


def progress_of(runs: Path, run: str) -> dict[str, Any] | None:
    """{stage, done, total, unit, left, at} as last noted; None if nothing is known."""
    try:
        found = read_object(progress_file(runs, run), stage=str, unit=str, at=str)
    except (FileNotFoundError, UnreadableError):
        return None
    numbers = (found.get("done"), found.get("total") or 0, found.get("left") or 0)
    return found if all(isinstance(one, int | float) for one in numbers) else None


def kept(runs: Path, run: str, log: Log) -> Log:
    """`log`, also kept in the home."""
    path = log_file(runs, run)

    def both(text: str) -> None:
        log(text)
        with suppress(OSError), path.open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    return both


def lines_of(runs: Path, run: str) -> list[str]:
    """The lines that an active run has logged so far."""
    try:
        return log_file(runs, run).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


class _Note:
    def __init__(self, path: Path, stage: str) -> None:
        self.path, self.stage = path, stage
        self.due = self.began = 0.0
        self.first, self.kind = 0.0, ""

    def __call__(self, done: float, total: float | None, unit: str) -> None:
        now, kind = time.monotonic(), unit.partition(" · ")[0]
        if kind != self.kind or done < self.first:
            self.first, self.kind, self.began = done, kind, now
        elif now < self.due:
            return
        self.due = now + WRITE_SECONDS
        value = {
            "stage": self.stage,
            "done": done,
            "total": total,
            "unit": unit,
            "left": self._left(done, total, now),
            "at": utc(datetime.now(UTC)),
        }
        with suppress(OSError):  # a run that is not live, or a full disk: nothing is lost
            write_json(self.path, value)

    def _left(self, done: float, total: float | None, now: float) -> float | None:
        """Seconds, at the rate since the first report of this unit."""
        if not total or done <= self.first:
            return None
        return round((total - done) * (now - self.began) / (done - self.first), 1)


class Pace:
    """Rate and remaining time for one kind of unit, since its first report."""

    def __init__(self) -> None:
        self._unit: str | None = None
        self._first, self._start = 0.0, 0.0

    def describe(self, done: float, total: float | None, unit: str, now: float) -> str:
        kind, _, detail = unit.partition(" · ")
        if kind != self._unit or done < self._first:
            self._unit, self._first, self._start = kind, done, now
        if not done and not total:
            return unit  # a message without a count
        rate = (done - self._first) / (now - self._start) if now > self._start else 0.0
        parts = [_amount(done, total, kind)]
        if rate:
            parts.append(f"{_number(rate, kind)}/s")
        if rate and total:
            parts.append(f"{_duration((total - done) / rate)} left")
        return ", ".join(parts) + (f" · {detail}" if detail else "")


def _amount(done: float, total: float | None, kind: str) -> str:
    if not total:
        return f"{_number(done, kind)} {kind}"
    return f"{_number(done, kind)} of {_number(total, kind)} {kind} ({100 * done / total:.0f}%)"


def _number(value: float, kind: str) -> str:
    if kind.startswith("bytes"):
        return f"{value / 1e6:,.1f} M"
    return f"{value:,.0f}" if value >= 10 else f"{value:,.1f}".removesuffix(".0")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
