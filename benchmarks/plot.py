"""The ratios as a small bar plot, for the README."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import PLOT, Row, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LIMIT = "limit"  # rows against the machine's limit are shares, not ratios of two programs


def draw(rows: list[Row], folder: Path) -> Path | None:
    """results.svg: a bar per comparison, a tick at its goal. None if there are no comparisons."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = [
        (row, row.ratio)
        for row in reversed(rows)
        if row.ratio is not None and not row.name.endswith(LIMIT)
    ]
    if not chosen:
        return None
    path = folder / PLOT
    with plt.rc_context({"svg.hashsalt": "folio", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(8, 0.6 + 0.3 * len(chosen)), layout="constrained")
        for place, (row, ratio) in enumerate(chosen):
            _bar(axes, place, row, ratio)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: times(value))
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(
            range(len(chosen)),
            [f"{row.title}\nagainst {row.against}" for row, _ in chosen],
            fontsize=7,
        )
        axes.margins(x=0.12)
        axes.set_xlabel(
            "speed-up over the alternative (log scale); line: goal; hatched: goal missed"
        )
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
    return path


def _bar(axes: Axes, place: int, row: Row, ratio: float) -> None:
    missed = row.met is False
    axes.barh(
        place,
        ratio - 1,
        left=1,
        height=0.6,
        color="0.85" if missed else "0.55",
        hatch="///" if missed else None,
        edgecolor="0.3",
        linewidth=0.6,
    )
    if row.goal is not None:
        axes.plot([row.goal] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.5)
    end = max(ratio, 1, row.goal or 0 if missed else 0)  # the figure is right of the goal line
    axes.annotate(
        times(ratio),
        (end, place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )
