"""Prints tables and figures for the commands."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from typing import Any

from flows.display.terminal import rich_console

NUMBERS = ("seconds", "metric", "version", "count", "MB")
LOG_WIDTH = 160  # if there is no terminal


def table(
    headers: Iterable[str], rows: Iterable[Iterable[Any]], numbers: tuple[str, ...] = NUMBERS
) -> None:
    """Print a table; the columns in `numbers` are right-aligned. Elsewhere than on a terminal, the
    cells are separated by tabs, whole, for cut and awk. A word (an id, a time) is never broken: on
    a terminal that is too narrow, a row goes on below itself.
    """
    lines = [[text(cell) for cell in cells] for cells in (headers, *rows)]
    if not sys.stdout.isatty():
        for cells in lines:
            print("\t".join(" ".join(cell.split()) for cell in cells))
        return
    from flows.display.terminal_table import show

    show(lines, numbers)


def print_wide(shown: Any) -> None:
    """Print at the terminal's width, or LOG_WIDTH elsewhere."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else LOG_WIDTH
    rich_console(sys.stdout, width=width, highlight=False, markup=False).print(shown)


def text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def figures(metrics: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {text(value)}" for name, value in metrics.items())
