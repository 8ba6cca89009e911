"""The runs that are active now, and the part of the dashboard that shows them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pipelines.report.page import render
from pipelines.store.live_progress import progress_of
from pipelines.store.live_runs import live_runs

BEGIN, END = "<!-- running -->", "<!-- end of running -->"  # in the page, around this part
BETWEEN = re.compile(f"{BEGIN}.*?{END}", re.DOTALL)
RELOAD_SECONDS, IDLE_SECONDS = 5, 60  # of an open page, while something runs and otherwise
HEAD = '<meta charset="utf-8">'


def running(runs: Path) -> list[dict[str, Any]]:
    """The active runs, oldest first: {run, pipeline, started, stage, share, text, left}, as far as
    known. A training in the pool is a part of the run that asked for it."""
    return [
        {
            "run": record["run"],
            "pipeline": record.get("pipeline", "?"),
            "started": record.get("started"),
            **_described(progress_of(runs, record["run"])),
        }
        for record in live_runs(runs)
        if "part_of" not in record
    ]


def _described(progress: dict[str, Any] | None) -> dict[str, Any]:
    if progress is None:
        return {"stage": None, "share": None, "text": "", "left": None}
    done, total, unit = progress["done"], progress["total"], progress["unit"]
    kind, _, detail = unit.partition(" · ")
    counted = f"{done:,.0f} of {total:,.0f} {kind}" if total else kind
    return {
        "stage": progress["stage"],
        "share": min(1.0, done / total) if total else None,
        "text": " · ".join(filter(None, (counted, detail))),
        "left": progress["left"],
    }


def reloading(page: Path, runs: Path) -> str:
    """The dashboard as it was written, with the runs of this moment; open, it reloads itself."""
    active = running(runs)
    seconds = RELOAD_SECONDS if active else IDLE_SECONDS
    text = page.read_text(encoding="utf-8")
    part = f"{BEGIN}{render('running.html', running=active)}{END}"
    text = BETWEEN.sub(lambda found: part, text, count=1)
    return text.replace(HEAD, f'{HEAD}\n<meta http-equiv="refresh" content="{seconds}">', 1)
