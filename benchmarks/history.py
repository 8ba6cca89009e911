"""The figures of earlier commits, and what has become slower since.

`history.jsonl` has a line for each measured row: commit, date, machine, name, figure, met, in_use.
`figure` is the row's ratio; of a row without another side, one divided by the measurement. So more
is better, whatever the goal. Only figures of one machine are compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.results import BUSY, Row

FILE = "history.jsonl"
FALL = 0.2  # processes differ by up to 0.3, medians of alternating rounds by less

Line = dict[str, Any]


def read(folder: Path) -> list[Line]:
    """Oldest first."""
    path = folder / FILE
    return list(map(json.loads, path.read_text().splitlines())) if path.is_file() else []


def append(folder: Path, rows: Iterable[Row], commit: str | None) -> None:
    lines = [json.dumps(_line(row, commit)) for row in rows if _figure(row) is not None]
    with (folder / FILE).open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


def slower(earlier: Iterable[Line], rows: Iterable[Row]) -> list[str]:
    """A line for each row whose goal was met when it was last measured on this machine, and whose
    figure has since fallen by more than FALL. What was measured beside other programs proves
    nothing."""
    last = {(line["name"], line["machine"]): line for line in earlier if not _is_busy(line)}
    found = []
    for row in rows:
        line = _line(row, None)
        before = last.get((row.name, line["machine"]))
        if line["figure"] is None or before is None or not before["met"] or _is_busy(line):
            continue
        if line["figure"] < (1 - FALL) * before["figure"]:
            change = line["figure"] / before["figure"] - 1
            found.append(
                f"{row.name}: {line['figure']:.3g} instead of {before['figure']:.3g} at "
                f"{before['commit']} ({before['date']}), {change:.0%}"
            )
    return found


def _line(row: Row, commit: str | None) -> Line:
    return {
        "commit": commit,
        "date": row.date,
        "machine": row.machine.partition(". Python")[0],  # versions are the code's choice
        "name": row.name,
        "figure": _figure(row),
        "met": row.met,
        "in_use": row.in_use,
    }


def _figure(row: Row) -> float | None:
    if row.ratio is not None:
        return row.ratio
    return 1 / row.ours if row.goal and row.ours else None


def _is_busy(line: Line) -> bool:
    return (line["in_use"] or 0) > BUSY
