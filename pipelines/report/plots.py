"""The report's plots as PNG bytes: one style, readable in grey and small, the same bytes each time.
With `max_bytes` a plot is made small for where a page is stored whole.

Series differ by line style, marker or hatch as well as by colour. Nothing of pyplot is used.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipelines.report.visible import visible

INK, MUTED, RULE = "#1f2933", "#5d6977", "#d9dee4"
FIRST, SECOND, THIRD = "#1d5fa8", "#c2571a", "#5d6977"
SERIES = (
    {"color": FIRST, "linestyle": "-"},
    {"color": SECOND, "linestyle": "--"},
    {"color": THIRD, "linestyle": ":"},
)
SIZE = (4.6, 3.0)  # inches: the letters stay readable on a telephone
DPI = 200
SMALL_DPI = (110, 80, 50)  # tried one after another
STYLE = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.7,
    "lines.markersize": 5,
    "hatch.linewidth": 0.6,
    "legend.facecolor": "white",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.fancybox": False,
    "text.parse_math": False,  # names are text: a label "$x" is no formula
}
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
PERCENT = FuncFormatter(lambda value, _: f"{round(100 * value, 3):g}%")
_STYLE_LOCK = Lock()  # matplotlib's settings are one for the process, its users may be threads


def training_curves(
    history: pa.Table, best_epoch: int | None, loss_unit: str, max_bytes: int | None = None
) -> bytes:
    """Training and validation loss per epoch, the chosen epoch marked."""
    epochs = history["epoch"].to_numpy()
    with _figure() as figure:
        axes = figure.add_subplot()
        for column, name, marker, series in (
            ("loss", "train", "o", SERIES[0]),
            ("validation_loss", "validation", "s", SERIES[1]),
        ):
            axes.plot(epochs, history[column].to_numpy(), label=name, marker=marker, **series)
        if best_epoch is not None:
            best = history["validation_loss"].to_numpy()[epochs == best_epoch]
            axes.axvline(best_epoch, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
            axes.plot(
                [best_epoch],
                best,
                linestyle="none",
                marker="o",
                markersize=12,
                markerfacecolor="none",
                markeredgecolor=INK,
                label=f"chosen: epoch {best_epoch}",
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.margins(x=0.08, y=0.12)
        axes.set(xlabel="epoch", ylabel=f"loss ({loss_unit})")
        axes.legend()
        return _png(figure, max_bytes)


def by_slice(
    rows: Sequence[Mapping[str, Any]], figure_name: str, overall: float, label: str, unit: str
) -> bytes:
    """A figure of each slice with its 95% interval, against that of the whole test text.

    `rows` have slice, low, high and the figure under its name; low and high are None where nobody
    knows. `unit` is said of the axis; shares are shown in percent.
    """
    with _figure((SIZE[0], 1.3 + (0.36 if len(rows) <= 10 else 0.24) * len(rows))) as figure:
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
        return _png(figure)


def score_histogram(
    label: np.ndarray, probability: np.ndarray, names: Sequence[str], threshold: float = 0.5
) -> bytes:
    """How many documents of each true class were given which probability of class 1, which is
    said over `threshold`."""
    edges, names = np.linspace(0, 1, 21), [visible(name) for name in names]
    with _figure() as figure:
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
                label=f"truly {name}",
            )
        axes.axvline(threshold, color=INK, linewidth=0.9, linestyle="--")
        axes.yaxis.set_major_formatter(THOUSANDS)
        axes.grid(visible=False, axis="x")
        axes.set(xlim=(0, 1), xlabel=f"probability given to {names[1]}", ylabel="documents")
        axes.legend(loc="upper center")
        return _png(figure)


def reliability(
    bins: Sequence[Mapping[str, Any]], name: str, unscaled: Sequence[Mapping[str, Any]] = ()
) -> bytes:
    """Promised against observed share of class 1, a point a bin with its 95% interval; `unscaled`
    is what it was before the temperature.

    Both have predicted, observed, low and high.
    """
    with _figure() as figure:
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
            ylabel=f"share truly {visible(name)}",
            xlabel=f"probability given to {visible(name)}",
        )
        axes.legend(loc="upper left")
        return _png(figure)


def loss_by_position(rows: Sequence[Mapping[str, Any]], mean: float) -> bytes:
    """Loss by how much context was read before; hollow where few tokens make it a matter of chance.

    `rows` have context, nats_per_token and few.
    """
    with _figure() as figure:
        axes = figure.add_subplot()
        axes.axhline(mean, color=MUTED, linestyle="--", linewidth=1, label="all tokens")
        for few, look in (
            (True, {"linestyle": "none", "markerfacecolor": "white", "color": MUTED}),
            (False, SERIES[0]),
        ):
            chosen = [
                (place, row["nats_per_token"])
                for place, row in enumerate(rows)
                if row["few"] == few
            ]
            if chosen:
                axes.plot(
                    *zip(*chosen, strict=True),
                    marker="o",
                    label="few tokens" if few else "by context",
                    **look,
                )
        axes.set_xticks(
            range(len(rows)),
            [row["context"] for row in rows],
            rotation=35,
            ha="right",
            rotation_mode="anchor",
        )
        axes.margins(y=0.12)
        axes.set(xlabel="tokens read before", ylabel="nats a token")
        axes.legend()
        return _png(figure)


def baseline_bars(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Bits per character of the baselines and, last, of the model.

    `rows` have name and bits_per_character.
    """
    with _figure((SIZE[0], 0.8 + 0.42 * len(rows))) as figure:
        axes = figure.add_subplot()
        places = np.arange(len(rows))[::-1]
        bars = axes.barh(
            places,
            [row["bits_per_character"] for row in rows],
            0.62,
            color="white",
            edgecolor=THIRD,
            hatch="////",
        )
        bars[-1].set(facecolor=f"{FIRST}99", edgecolor=FIRST, hatch="")
        axes.bar_label(
            bars,
            [f"{row['bits_per_character']:.3f}" for row in rows],
            padding=3,
            fontsize=8.5,
            color=INK,
        )
        axes.set_yticks(places, [row["name"] for row in rows])
        axes.margins(x=0.12)
        axes.grid(visible=False, axis="y")
        axes.set(xlabel="bits a character: shorter is better")
        return _png(figure)


def length_histogram(
    lengths: Mapping[str, np.ndarray], cut: int | None, max_bytes: int | None = None
) -> bytes:
    """Documents by length. `lengths[split][n]` is how many documents have n tokens."""
    longest = max(len(counts) for counts in lengths.values())
    edges = np.geomspace(1, max(longest, 2), 41)
    edges = np.unique(np.concatenate([np.ceil(edges) - 0.5, [longest - 0.5]]))  # between integers
    with _figure() as figure:
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
        axes.set(xlabel="tokens a document, before any cut", ylabel="share of documents")
        axes.legend(loc="upper left")
        return _png(figure, max_bytes)


def _low_end(lengths: Mapping[str, np.ndarray]) -> float:
    """The length that all but one in a thousand documents reach."""
    total = np.zeros(max(len(counts) for counts in lengths.values()))
    for counts in lengths.values():
        total[: len(counts)] += counts
    return max(int(np.searchsorted(np.cumsum(total), total.sum() / 1000)) * 0.8, 0.9)


def padding_bars(rows: Sequence[Mapping[str, Any]], max_bytes: int | None = None) -> bytes:
    """Slots of each bucket: real tokens and padding. `rows` as the batches stage counts them."""
    with _figure() as figure:
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
        return _png(figure, max_bytes)


def confusion_matrix(
    cells: Sequence[Sequence[Mapping[str, Any]]], names: Sequence[str], max_bytes: int | None = None
) -> bytes:
    """How often documents of each true class were given which.

    `cells` have count and share (of the row); rows are the truth, columns the answer, both in the
    order of `names`.
    """
    shares = np.array([[cell["share"] for cell in row] for row in cells])
    names = [visible(name) for name in names]
    with _figure((SIZE[0], 2.6)) as figure:
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
        axes.set(xlabel="the model says", ylabel="truly")
        return _png(figure, max_bytes)


def comparison_png(labels: Sequence[str], values: Sequence[float], metric: str) -> bytes:
    """One bar a variant, in the order given, its value beside it."""
    with _figure((6.0, 0.9 + 0.3 * len(labels))) as figure:
        axes = figure.add_subplot()
        bars = axes.barh(range(len(labels)), values, color=FIRST, height=0.6)
        axes.bar_label(bars, [f" {value:.4f}" for value in values], color=INK)
        axes.set_yticks(range(len(labels)), [visible(label) for label in labels])
        axes.invert_yaxis()
        axes.set_xlabel(metric.replace("_", " "))
        axes.margins(x=0.15)
        return _png(figure)


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


@contextmanager
def _figure(size: tuple[float, float] = SIZE) -> Iterator[Figure]:
    """A figure in the house style, whatever a matplotlibrc of the user's says."""
    with _STYLE_LOCK, style.context(["default", STYLE]):
        figure = Figure(size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def _png(figure: Figure, max_bytes: int | None = None) -> bytes:
    """Sharp, or as sharp as `max_bytes` allow. Raises ValueError when they allow no picture."""
    for dpi in (DPI,) if max_bytes is None else SMALL_DPI:
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=dpi, metadata={"Software": None})
        if max_bytes is None or file.tell() <= max_bytes:
            return file.getvalue()
    raise ValueError(f"the picture needs {file.tell()} bytes at least; max_bytes is {max_bytes}")
