"""Plots of one figure: by slice of the test text, and by variant of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from pipelines.report.plots.style import (
    FIRST,
    INK,
    MUTED,
    PERCENT,
    SECOND,
    SERIES,
    SIZE,
    png_bytes,
    styled_figure,
)
from pipelines.report.visible import visible


def by_slice(
    rows: Sequence[Mapping[str, Any]], figure_name: str, overall: float, label: str, unit: str
) -> bytes:
    """A figure of each slice with its 95% interval, against that of the whole test text.

    `rows` have slice, low, high and the figure under its name; low and high are None if unknown.
    `unit` is the axis label; shares are shown in percent.
    """
    with styled_figure((SIZE[0], 1.3 + (0.36 if len(rows) <= 10 else 0.24) * len(rows))) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(rows))[::-1]
        middle = np.array([row[figure_name] for row in rows])
        ends = [
            [row[figure_name] if row[end] is None else row[end] for row in rows]
            for end in ("low", "high")
        ]
        axes.axvline(overall, color=MUTED, linestyle="--", linewidth=1, zorder=1)
        axes.annotate(
            "all",
            (overall, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            color=MUTED,
            fontsize=8.5,
        )
        axes.errorbar(
            middle,
            places,
            xerr=np.abs(np.array(ends) - middle),
            fmt="o",
            color=FIRST,
            capsize=3,
            elinewidth=1.3,
        )
        axes.set_yticks(places, [visible(row["slice"]) for row in rows])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        if figure_name == "accuracy":
            axes.xaxis.set_major_formatter(PERCENT)
        axes.set_xlabel(f"{unit}, 95% interval")
        axes.set_ylabel(visible(label))
        return png_bytes(figure)


def comparison_png(
    labels: Sequence[str],
    values: Sequence[float],
    spans: Sequence[tuple[float, float]],
    axis_label: str,
) -> bytes:
    """One bar per variant, in the given order, with its value next to it. If values are means, a
    line shows the span of what they are the means of."""
    several = any(low < high for low, high in spans)
    with styled_figure((6.0, 0.9 + 0.3 * len(labels))) as figure:
        axes = figure.add_subplot()
        places = range(len(labels))
        ends = np.abs(np.array(spans).T - np.array(values)) if several else None
        bars = axes.barh(places, values, xerr=ends, color=FIRST, ecolor=INK, capsize=3, height=0.6)
        axes.bar_label(bars, [f" {value:.4f}" for value in values], color=INK)
        axes.set_yticks(places, [visible(label) for label in labels])
        axes.invert_yaxis()
        axes.set_xlabel(axis_label + (": mean, and minimum to maximum" if several else ""))
        axes.margins(x=0.15)
        return png_bytes(figure)


def tuning_png(values: Sequence[float | None], lower_is_better: bool, axis_label: str) -> bytes:
    """The figure of each trial, None if it failed, and the best one so far."""
    trials = np.arange(1, len(values) + 1)
    figures = np.array([np.nan if value is None else value for value in values])
    best = (np.fmin if lower_is_better else np.fmax).accumulate(figures)
    failed = np.isnan(figures)
    with styled_figure((6.0, 3.0)) as figure:
        axes = figure.add_subplot()
        axes.step(trials, best, where="post", label="best so far", **SERIES[0])
        axes.plot(trials, figures, "o", color=SECOND, label="trial")
        if failed.any():
            bottom = np.zeros(failed.sum())
            axes.plot(
                trials[failed],
                bottom,
                "x",
                color=MUTED,
                label="failed",
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set(xlabel="trial", ylabel=axis_label)
        axes.legend()
        return png_bytes(figure)
