"""The labels of a table, as the numbers of their classes."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.declaration.section_base import MOST_LABELS
from pipelines.errors import FolioError

TRUTHS = ("true", "false")


def value_of(label: str, labels: Sequence[str]) -> float | None:
    """The number of its class, or None if it is none of the labels: as it is written, or as the
    same number or truth value (1 and 1.0, True and true)."""
    if label in labels:
        return float(labels.index(label))
    same = [float(at) for at, one in enumerate(labels) if _meaning(one) == _meaning(label)]
    return same[0] if len(same) == 1 else None


class FoundLabels:
    """The labels of a table for which none are declared, in the order in which they come."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[object, int] = {}

    def value_of(self, label: str, place: str) -> float | None:
        """A number for now; None for no label. Raises FolioError if there are too many."""
        if not label:
            return None
        number = self._numbers.setdefault(_meaning(label), len(self.names))
        if number == MOST_LABELS:
            raise FolioError(
                f"{place}: {label[:40]!r} is label number {MOST_LABELS + 1:,} of this column; a "
                f"classifier has at most {MOST_LABELS:,}. Check corpus.label_column, or list those "
                "to learn in corpus.labels"
            )
        if number == len(self.names):
            self.names.append(label)
        self.names[number] = min(self.names[number], label)  # 1 before 1.0, in any order of rows
        return float(number)


def in_order(names: Sequence[str]) -> list[str]:
    """Sorted: by value if all are numbers, else as text."""
    values = {name: _meaning(name) for name in names}
    if all(isinstance(value, float) for value in values.values()):
        return sorted(names, key=lambda name: (values[name], name))
    return sorted(names)


def _meaning(label: str) -> object:
    if label.lower() in TRUTHS:
        return label.lower()
    try:
        value = float(label) if label.isascii() else None
    except ValueError:
        value = None
    return label if value is None or value != value else value  # NaN equals nothing, nor itself
