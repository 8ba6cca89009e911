"""What each row reached, beside its goal: on the terminal, and as a page."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipelines.run.execute import git_commit
from pipelines.store.processor import processor
from torture.trials import Row, Trials

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
Found = Sequence[tuple[Row, Trials]]


def table(found: Found) -> str:
    """A Markdown table."""
    lines = ["| promise | reached | goal of a night | broken |", "|---|---|---|---|"]
    for row, trials in found:
        reached = ", ".join(
            f"{count:,} {what}" for what, count in trials.counted.items() if what != "broken"
        )
        goal = ", ".join(f"{count:,} {what}" for what, count in row.goal.items())
        skipped = "".join(f"; not tried: {why}" for why in trials.skipped)
        lines.append(
            f"| {row.promise} | {reached}{skipped} | {goal} | {trials.counted['broken']} |"
        )
    return "\n".join(lines)


def written(page: Path, found: Found, hours: float, seed: str) -> None:
    """Puts the figures into the page, between its two marks."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    if not rest:
        raise SystemExit(f"{page}: has no line {BEGIN}")
    when = f"{datetime.now(UTC):%Y-%m-%d}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = " ".join(processor().split()[:2])
    text = (
        f"{when}, commit {(git_commit() or 'unknown')[:12]}, {hours:g} hours with seed {seed}, on "
        f"{cores} cores of {name}, Python {platform.python_version()}:\n\n{table(found)}\n"
    )
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
