"""Plots of the data: document lengths, and the share of padding in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from pipelines.report.plots.style import (
    FIRST,
    INK,
    MUTED,
    SECOND,
    SERIES,
    THOUSANDS,
    png_bytes,
    styled_figure,
)


def length_histogram(
    lengths: Mapping[str, np.ndarray], cut: int | None, max_bytes: int | None = None
) -> bytes:
    """Documents by length. `lengths[split][n]` is how many documents have n tokens."""
    longest = max(len(counts) for counts in lengths.values())
    edges = np.geomspace(1, max(longest, 2), 41)
    edges = np.unique(np.concatenate([np.ceil(edges) - 0.5, [longest - 0.5]]))  # between integers
    with styled_figure() as figure:
        axes = figure.add_subplot()
        for (split, counts), series in zip(lengths.items(), SERIES, strict=False):
            shares = np.histogram(np.arange(len(counts)), edges, weights=counts)[0] / counts.sum()
            axes.stairs(
                shares / np.diff(np.log(edges)), edges, label=split, linewidth=1.5, **series
            )
        if cut is not None:
            axes.axvline(cut, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
            axes.annotate(
                f"cut at {cut:,}",
                (cut, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                ha="center",
                fontsize=8.5,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(THOUSANDS)
        axes.set_xlim(left=_low_end(lengths))
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set(xlabel="tokens per document, before truncation", ylabel="share of documents")
        axes.legend(loc="upper left")
        return png_bytes(figure, max_bytes)


def _low_end(lengths: Mapping[str, np.ndarray]) -> float:
    """The length that only one document in a thousand exceeds."""
    total = np.zeros(max(len(counts) for counts in lengths.values()))
    for counts in lengths.values():
        total[: len(counts)] += counts
    return max(int(np.searchsorted(np.cumsum(total), total.sum() / 1000)) * 0.8, 0.9)


def padding_bars(rows: Sequence[Mapping[str, Any]], max_bytes: int | None = None) -> bytes:
    """Slots of each bucket: real tokens and padding. `rows` as counted by the batches stage."""
    with styled_figure() as figure:
        axes = figure.add_subplot()
        places = np.arange(len(rows))
        real, padding = ([row[key] for row in rows] for key in ("tokens", "padding"))
        axes.bar(places, real, 0.7, label="tokens", color=f"{FIRST}99", edgecolor=FIRST)
        top = axes.bar(
            places,
            padding,
            0.7,
            bottom=real,
            label="padding",
            color="white",
            edgecolor=SECOND,
            hatch="/////",
        )
        axes.bar_label(
            top, [f"{row['padding_share']:.0%}" for row in rows], padding=2, fontsize=8, color=MUTED
        )
        axes.set_xticks(places, [f"{row['width']:,}" for row in rows])
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="row width (tokens)", ylabel="slots")
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)  # above the bars
        return png_bytes(figure, max_bytes)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"
