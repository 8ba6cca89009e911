"""Plots as PNG bytes: one style, readable in grey and small, the same bytes each time. With
`max_bytes` a plot is small enough to be stored in a page.

Series differ by line style, marker or hatch as well as by colour. pyplot is not used.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypedDict

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

INK, MUTED, RULE = "#1f2933", "#5d6977", "#d9dee4"
FIRST, SECOND, THIRD = "#1d5fa8", "#c2571a", "#5d6977"


class Look(TypedDict, total=False):
    color: str
    linestyle: str
    markerfacecolor: str


SERIES: tuple[Look, ...] = (
    {"color": FIRST, "linestyle": "-"},
    {"color": SECOND, "linestyle": "--"},
    {"color": THIRD, "linestyle": ":"},
)
SIZE = (4.6, 3.0)  # inches: the text stays readable on a phone
DPI = 200
SMALL_DPI = (110, 80, 50)  # tried in this order
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
    "text.parse_math": False,  # names are text: a label "$x" is not a formula
}
THOUSANDS = FuncFormatter(lambda value, _: f"{value:,.0f}")
PERCENT = FuncFormatter(lambda value, _: f"{round(100 * value, 3):g}%")
_STYLE_LOCK = Lock()  # matplotlib's settings are global to the process, its users may be threads


@contextmanager
def styled_figure(size: tuple[float, float] = SIZE) -> Iterator[Figure]:
    """A figure in the house style, regardless of the user's matplotlibrc."""
    with _STYLE_LOCK, style.context(["default", STYLE]):
        figure = Figure(size, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def png_bytes(figure: Figure, max_bytes: int | None = None) -> bytes:
    """Sharp, or as sharp as `max_bytes` allow. Raises ValueError if no picture fits."""
    for dpi in (DPI,) if max_bytes is None else SMALL_DPI:
        file = io.BytesIO()
        figure.set_dpi(dpi)
        # The same bytes as from savefig, which lays the figure out twice.
        FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
        if max_bytes is None or file.tell() <= max_bytes:
            return file.getvalue()
    raise ValueError(f"the picture needs at least {file.tell()} bytes; max_bytes is {max_bytes}")
