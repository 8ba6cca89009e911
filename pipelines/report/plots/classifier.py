"""Plots of a classifier's predictions for the test documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from pipelines.report.plots.style import (
    FIRST,
    INK,
    MUTED,
    SECOND,
    SERIES,
    SIZE,
    THOUSANDS,
    png_bytes,
    styled_figure,
)
from pipelines.report.visible import visible


def score_histogram(
    label: np.ndarray, probability: np.ndarray, names: Sequence[str], threshold: float = 0.5
) -> bytes:
    """How many documents of each true class got which probability of class 1, which is predicted
    above `threshold`."""
    edges, names = np.linspace(0, 1, 21), [visible(name) for name in names]
    with styled_figure() as figure:
        axes = figure.add_subplot()
        for value, name, color, hatch in ((0, names[0], SECOND, "////"), (1, names[1], FIRST, "")):
            scores = probability[(label > 0.5) == bool(value)]
            counts = np.histogram(scores, edges)[0]
            axes.stairs(
                counts,
                edges,
                fill=True,
                facecolor=f"{color}55",
                edgecolor=color,
                hatch=hatch,
                linewidth=1.2,
                label=f"true {name}",
            )
        axes.axvline(threshold, color=INK, linewidth=0.9, linestyle="--")
        axes.yaxis.set_major_formatter(THOUSANDS)
        axes.grid(visible=False, axis="x")
        axes.set(xlim=(0, 1), xlabel=f"probability of {names[1]}", ylabel="documents")
        axes.legend(loc="upper center")
        return png_bytes(figure)


def reliability(
    bins: Sequence[Mapping[str, Any]], name: str, unscaled: Sequence[Mapping[str, Any]] = ()
) -> bytes:
    """Predicted against observed share of class 1, one point per bin with its 95% interval;
    `unscaled` is before temperature scaling.

    Both have predicted, observed, low and high.
    """
    with styled_figure() as figure:
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="perfect")
        x, y, low, high = (
            np.array([row[key] for row in bins]) for key in ("predicted", "observed", "low", "high")
        )
        if unscaled:
            axes.plot(
                [row["predicted"] for row in unscaled],
                [row["observed"] for row in unscaled],
                marker="s",
                markerfacecolor="white",
                label="before scaling",
                **SERIES[1],
            )
        axes.errorbar(
            x,
            y,
            yerr=np.maximum([y - low, high - y], 0),
            fmt="o-",
            color=FIRST,
            capsize=3,
            elinewidth=1.1,
            label="model",
        )
        axes.set(
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
            ylabel=f"share of true {visible(name)}",
            xlabel=f"probability of {visible(name)}",
        )
        axes.legend(loc="upper left")
        return png_bytes(figure)


def confusion_matrix(
    cells: Sequence[Sequence[Mapping[str, Any]]], names: Sequence[str], max_bytes: int | None = None
) -> bytes:
    """How often documents of each true class got which prediction.

    `cells` have count and share (of the row); rows are the true class, columns the prediction, both
    in the order of `names`.
    """
    shares = np.array([[cell["share"] for cell in row] for row in cells])
    names = [visible(name) for name in names]
    with styled_figure((SIZE[0], 2.6)) as figure:
        axes = figure.add_subplot()
        blues = LinearSegmentedColormap.from_list("blues", ["white", FIRST])
        axes.imshow(shares, cmap=blues, vmin=0, vmax=1, aspect="auto")
        for (row, column), share in np.ndenumerate(shares):
            axes.text(
                column,
                row,
                f"{cells[row][column]['count']:,}\n{share:.1%}",
                ha="center",
                va="center",
                color="white" if share > 0.5 else INK,
            )
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        axes.grid(visible=False)
        axes.set(xlabel="prediction", ylabel="truly")
        return png_bytes(figure, max_bytes)
