"""A table on a terminal. No id or time is broken: what does not fit goes below its row."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flows.display.terminal import rich_console
from pipelines.report.visible import visible

if TYPE_CHECKING:
    from rich.align import AlignMethod as Justify

UNBROKEN = 48  # characters of a word that is not broken: the longest run ids have 45
READABLE = 20  # characters that a column of sentences needs
GAP = "  "  # between two columns


def show(lines: list[list[str]], numbers: tuple[str, ...]) -> None:
    """Print the headers and rows; the columns in `numbers` are right-aligned."""
    columns = list(zip(*lines, strict=True))
    sides: list[Justify] = ["right" if name in numbers else "left" for name in lines[0]]
    if sum(map(_least, columns)) + len(GAP) * (len(columns) - 1) > _terminal_width():
        _stacked(lines, columns, sides)
        return
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for cells, side in zip(columns, sides, strict=True):
        words = all(len(cell.split()) < 2 for cell in cells[1:])
        shown.add_column(cells[0], overflow="fold", justify=side, no_wrap=words)
    for row in lines[1:]:
        shown.add_row(*row)
    console = rich_console(sys.stdout, width=_terminal_width(), highlight=False, markup=False)
    console.print(shown)


def _least(cells: Iterable[str]) -> int:
    """A column's width below which it reads badly, or a word would be broken."""
    words = max((cell_len(word) for cell in cells for word in cell.split()), default=0)
    return max(min(words, UNBROKEN), min(_widest(cells), READABLE))


def _widest(cells: Iterable[str]) -> int:
    return max(map(cell_len, cells))


def _stacked(lines: list[list[str]], columns: list[tuple[str, ...]], sides: list[Justify]) -> None:
    """The columns that fit beside each other, and below them, indented, the rest of the row."""
    widths = list(map(_widest, columns))
    ends = accumulate(width + len(GAP) for width in widths[:-1])
    beside = max(sum(end - len(GAP) <= _terminal_width() for end in ends), 1)
    console = rich_console(sys.stdout, width=_terminal_width(), highlight=False, markup=False)
    for row in lines:
        cells = [Text(visible(cell)) for cell in row]
        for cell, width, side in zip(cells[:beside], widths, sides, strict=False):
            cell.align(side, width)
        style = "bold" if row is lines[0] else ""
        console.print(Text(GAP).join(cells[:beside]), style=style, soft_wrap=True)
        if cells[beside:]:
            rest = Text(GAP).join(cells[beside:])
            console.print(Padding(rest, (0, 0, 0, len(GAP) * 2), expand=False), style=style)


def _terminal_width() -> int:
    return shutil.get_terminal_size().columns
