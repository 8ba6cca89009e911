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

FEW_CLASSES = 15  # whose numbers are written into the cells of a confusion matrix
MOST_WRITTEN = 36  # cells of a small picture
MOST_NAME = 24  # characters of a class's name


def score_histogram(
    label: np.ndarray, probability: np.ndarray, names: Sequence[str], threshold: float = 0.5
) -> bytes:
    """How many documents of each true class got which probability of class 1, which is predicted
    above `threshold`."""
    names = [visible(name) for name in names]
    called = [f"true {name}" for name in names]
    return _histogram(label, probability, called, f"probability of {names[1]}", threshold)


def confidence_histogram(correct: np.ndarray, confidence: np.ndarray) -> bytes:
    """How many documents were labelled wrongly and correctly at which probability."""
    called = ("predicted wrongly", "predicted correctly")
    return _histogram(correct, confidence, called, "probability of the predicted label")


def _histogram(
    label: np.ndarray,
    probability: np.ndarray,
    called: Sequence[str],
    axis_label: str,
    threshold: float | None = None,
) -> bytes:
    """Of documents with the label 0 and 1."""
    edges = np.linspace(0, 1, 21)
    with styled_figure() as figure:
        axes = figure.add_subplot()
        for value, name, color, hatch in (
            (0, called[0], SECOND, "////"),
            (1, called[1], FIRST, ""),
        ):
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
                label=name,
            )
        if threshold is not None:
            axes.axvline(threshold, color=INK, linewidth=0.9, linestyle="--")
        axes.yaxis.set_major_formatter(THOUSANDS)
        axes.grid(visible=False, axis="x")
        axes.set(xlim=(0, 1), xlabel=axis_label, ylabel="documents")
        axes.legend(loc="upper center" if threshold is not None else "upper left")
        return png_bytes(figure)


def reliability(
    bins: Sequence[Mapping[str, Any]],
    name: str,
    unscaled: Sequence[Mapping[str, Any]] = (),
    observed: str | None = None,
) -> bytes:
    """Predicted against observed share of class 1, or of what is `observed`, one point per bin with
    its 95% interval; `unscaled` is before temperature scaling.

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
            ylabel=observed or f"share of true {visible(name)}",
            xlabel=f"probability of {visible(name)}",
        )
        axes.legend(loc="upper left")
        return png_bytes(figure)


def threshold_curves(
    label: np.ndarray, probability: np.ndarray, name: str, threshold: float
) -> bytes:
    """What another threshold would give: the ROC curve, and precision against recall, of class 1.
    The dot is the threshold in use. Both classes must occur."""
    from sklearn.metrics import precision_recall_curve, roc_curve

    false, true, _ = roc_curve(label, probability)
    precision, recall, _ = precision_recall_curve(label, probability)
    chosen, positive = probability > threshold, label > 0.5
    hits, wanted = (chosen & positive).sum(), positive.sum()
    found = hits / wanted
    with styled_figure((SIZE[0], 2.7)) as figure:
        left, right = figure.subplots(1, 2)
        left.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        left.plot(false, true, color=FIRST)
        left.plot((chosen & ~positive).sum() / (~positive).sum(), found, "o", color=INK)
        left.set(xlabel="false positive rate", ylabel="true positive rate")
        right.axhline(positive.mean(), color=MUTED, linewidth=1, linestyle="--")
        right.plot(recall, precision, color=FIRST)
        if chosen.any():
            right.plot(found, hits / chosen.sum(), "o", color=INK)
        right.set(xlabel="recall", ylabel="precision")
        for axes in (left, right):
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        figure.suptitle(f"class: {visible(name)}", fontsize=9, color=MUTED)
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


def class_confusion(
    cells: Sequence[Sequence[int]], names: Sequence[str], max_bytes: int | None = None
) -> bytes:
    """The same of many classes: `cells` are [true class, predicted class, documents], the others
    are empty. Numbers are written where there is space for them, and `max_bytes` allow them."""
    counts = np.zeros((len(names), len(names)), np.int64)
    for true, said, number in cells:
        counts[true, said] = number
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shown = [_short(visible(name)) for name in names]
    few = len(names) <= FEW_CLASSES
    written = few and (max_bytes is None or len(cells) <= MOST_WRITTEN)
    side = max(2.6, (0.5 if written else 0.19) * len(names))
    with styled_figure((side + 2.0, side + 1.0)) as figure:
        axes = figure.add_subplot()
        blues = LinearSegmentedColormap.from_list("blues", ["white", FIRST])
        # The root shows rare confusions too.
        axes.imshow(np.sqrt(shares), cmap=blues, vmin=0, vmax=1, aspect="auto")
        for (row, column), documents in np.ndenumerate(counts if written else counts[:0]):
            if documents:
                color = "white" if shares[row, column] > 0.3 else INK
                axes.text(column, row, f"{documents:,}", ha="center", va="center", color=color)
        places = np.arange(len(names))
        size = 8.5 if written else 7
        axes.set_xticks(places, shown, rotation=90, fontsize=size)
        axes.set_yticks(places, shown, fontsize=size)
        axes.set_xticks(places[1:] - 0.5, minor=True)
        axes.set_yticks(places[1:] - 0.5, minor=True)
        axes.grid(visible=False)
        axes.grid(visible=True, which="minor", linewidth=0.3)
        axes.tick_params(which="minor", length=0)
        axes.set(xlabel="prediction", ylabel="truly")
        return png_bytes(figure, max_bytes)


def _short(name: str) -> str:
    return name if len(name) <= MOST_NAME else f"{name[: MOST_NAME - 1]}…"
