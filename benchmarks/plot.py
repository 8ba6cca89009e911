"""The ratios as a small bar plot, for the README."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results import PLOT, Row, times

LIMIT = "limit"  # rows against the machine's limit are shares, no ratios of two programs


def draw(rows: list[Row], folder: Path) -> Path | None:
    """results.svg: a bar a comparison, a tick where its goal is. None when there is none."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    chosen = [row for row in rows if row.ratio is not None and not row.name.endswith(LIMIT)][::-1]
    if not chosen:
        return None
    path = folder / PLOT
    with plt.rc_context({"svg.hashsalt": "folio", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(8, 0.6 + 0.3 * len(chosen)), layout="constrained")
        for place, row in enumerate(chosen):
            _bar(axes, place, row)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: times(value))
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(
            range(len(chosen)),
            [f"{row.title}\nagainst {row.against}" for row in chosen],
            fontsize=7,
        )
        axes.margins(x=0.12)
        axes.set_xlabel(
            "times as fast as the other (log scale); line: the goal; hatched: goal missed"
        )
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)
    return path


def _bar(axes: object, place: int, row: Row) -> None:
    missed = row.met is False
    axes.barh(
        place,
        row.ratio - 1,
        left=1,
        height=0.6,
        color="0.85" if missed else "0.55",
        hatch="///" if missed else None,
        edgecolor="0.3",
        linewidth=0.6,
    )
    if row.goal is not None:
        axes.plot([row.goal] * 2, [place - 0.4, place + 0.4], color="black", linewidth=1.5)
    end = max(row.ratio, 1, row.goal or 0 if missed else 0)  # the figure right of the goal's line
    axes.annotate(
        times(row.ratio),
        (end, place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )
