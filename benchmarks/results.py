"""The rows of the table, and their files: results.json and RESULTS.md."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from benchmarks.harness import Measured
from pipelines.files.whole_files import write_json, write_whole

JSON, PAGE, PLOT = "results.json", "RESULTS.md", "results.svg"
OF_LIMIT = 0.7  # the share of the machine's limit that is the goal where no program reaches another
BUSY = 0.1  # of the cores' time, used by others: above this, a comparison's figures are uncertain


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


@dataclass(frozen=True)
class Row:
    """One comparison. `name` is the argument of --only, a slash, and the alternative.

    With an `other` side, the ratio says how many times better Folio is, and `goal` is its minimum;
    of the machine's limit, the ratio is the share that is reached. Without one, `goal` is the
    maximum of `ours`. A row that could not be measured has neither, and `note` says why.
    """

    name: str
    title: str
    against: str
    ours: float | None = None
    other: float | None = None
    unit: str = ""
    ratio: float | None = None
    goal: float | None = None
    met: bool | None = None
    runs: int = 0
    note: str = ""  # how it was measured, and its limits
    date: str = field(default_factory=today)
    machine: str = ""
    in_use: float | None = None  # share of the cores' time that others used just before

    @classmethod
    def times(
        cls,
        name: str,
        title: str,
        against: str,
        ours: Measured,
        other: Measured,
        unit: str,
        goal: float | None,
        note: str = "",
    ) -> Row:
        """Folio against another side. The ratio is the median over the rounds, so that only
        measurements of the same moment are compared."""
        pairs = zip(ours.values, other.values, strict=True)
        ratio = float(statistics.median(a / b if unit.endswith("/s") else b / a for a, b in pairs))
        return cls(
            name,
            title,
            against,
            float(ours.median),
            float(other.median),
            unit,
            ratio,
            goal,
            None if goal is None else ratio >= goal,
            len(ours.values),
            note,
        )

    @classmethod
    def within(
        cls, name: str, title: str, ours: float, unit: str, goal: float, runs: int, note: str = ""
    ) -> Row:
        """Folio against a limit that it should stay within."""
        return cls(
            name, title, "", float(ours), None, unit, None, goal, bool(ours <= goal), runs, note
        )

    @property
    def comparison(self) -> str:
        return self.name.split("/")[0]


def skipped(name: str, title: str, against: str, why: str) -> Row:
    """A row that could not be measured here."""
    return Row(name, title, against, note=why)


def load(folder: Path, name: str = JSON) -> list[Row]:
    path, known = folder / name, {each.name for each in fields(Row)}
    entries = json.loads(path.read_bytes()) if path.is_file() else []
    return [
        Row(**{key: value for key, value in entry.items() if key in known}) for entry in entries
    ]


def merged(earlier: Iterable[Row], new: Iterable[Row], order: Iterable[str]) -> list[Row]:
    """The new rows, and earlier ones with other names; by comparison in the given `order`.

    What could not be measured this time does not replace earlier measurements.
    """
    rows = {row.name: row for row in earlier}
    for row in new:
        if row.ours is not None or row.name not in rows:
            rows[row.name] = row
    ranks = {name: rank for rank, name in enumerate(order)}
    return sorted(rows.values(), key=lambda row: ranks.get(row.comparison, len(ranks)))


def save(folder: Path, rows: list[Row], command: str) -> None:
    """Write results.json with the measurements and RESULTS.md with everything."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON, [asdict(row) for row in rows if row.ours is not None])
    write_whole(folder / PAGE, page(rows, command))


def page(rows: list[Row], command: str) -> str:
    """RESULTS.md."""
    measured = [row for row in rows if row.ours is not None]
    judged = [row for row in measured if row.met is not None]
    met = sum(row.met is True for row in judged)
    lines = [
        "# Measured comparisons",
        "",
        f"{met} of {len(judged)} goals met. {_dates(measured)} Last command: `{command}`.",
        "",
        "Each side runs in a separate process, alternating with the others. Figures are "
        "medians of the rounds, and ratios are medians of the rounds' ratios. Above 1, "
        "Folio is better.",
        "",
        f"![ratios]({PLOT})",
        "",
    ]
    for machine in dict.fromkeys(row.machine for row in rows):
        here = [row for row in rows if row.machine == machine]
        lines += [f"{machine}{_busy(here)}", "", *table(here), ""]
    for title, chosen in (
        ("Missed", [row for row in judged if not row.met]),
        ("How it was measured", [row for row in measured if row.met is not False]),
        ("Not measured", [row for row in rows if row.ours is None]),
    ):
        notes = [
            f"- **{row.name}**: {_gap(row)}{row.note}"
            for row in chosen
            if row.note or row.met is False
        ]
        lines += [f"## {title}", "", *notes, ""] if notes else []
    return "\n".join(lines)


def table(rows: list[Row]) -> list[str]:
    """The rows as a Markdown table."""
    lines = [
        "| name | what | against | Folio | other | ratio | goal | |",
        "|---|---|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        verdict = {
            True: "met",
            False: "**missed**",
            None: "" if row.ours is not None else "not measured",
        }[row.met]
        cells = [
            row.name,
            row.title,
            row.against,
            amount(row.ours, row.unit),
            amount(row.other, row.unit),
            times(row.ratio),
            _goal(row),
            verdict,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def amount(value: float | None, unit: str) -> str:
    return "" if value is None else f"{number(value)} {unit}".strip()


def times(ratio: float | None) -> str:
    return "" if ratio is None else f"{number(ratio)}×"


def number(value: float) -> str:
    """Three significant figures, with separators for thousands."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _goal(row: Row) -> str:
    if row.goal is None:
        return ""
    return f"≥ {times(row.goal)}" if row.other is not None else f"≤ {amount(row.goal, row.unit)}"


def _gap(row: Row) -> str:
    if row.met is not False or row.ours is None or row.goal is None:
        return ""
    if row.other is None:
        return f"{amount(row.ours - row.goal, row.unit)} above the goal. "
    return f"{times(row.ratio)}; the goal is {times(row.goal)}. "


def _busy(rows: list[Row]) -> str:
    """A warning if other programs were running during the measurement."""
    others = max((row.in_use or 0 for row in rows), default=0)
    return (
        f" It was busy with other work (up to {others:.0%} of the cores' time), so the "
        "figures are uncertain." * (others > BUSY)
    )


def _dates(rows: list[Row]) -> str:
    dates = sorted({row.date for row in rows})
    return f"Measured on {' to '.join(dict.fromkeys((dates[0], dates[-1])))}." if dates else ""
