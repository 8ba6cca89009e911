"""What a classifier answers, one row for each text; and why a text gets no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

Chance = float | np.ndarray  # of the second of two labels, or of each of more (labels,)


def answer(
    text: str, found: Chance | str, labels: Sequence[str], threshold: float
) -> dict[str, Any]:
    """The row of a text, from the probabilities or from why there are none."""
    several = "probabilities" if len(labels) > 2 else "positive_probability"
    row: dict[str, Any] = {"text": text, "label": None, "probability": None, several: None}
    if isinstance(found, str):
        return row | {"error": found}
    if isinstance(found, np.ndarray):
        best = int(found.argmax())
        return row | {"label": labels[best], "probability": float(found[best]), several: found}
    positive = found > threshold
    probability = found if positive else 1 - found
    return row | {"label": labels[positive], "probability": probability, several: found}


def named(row: dict[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """The row with probabilities, if it has them, as {label: probability}."""
    if row.get("probabilities") is None:
        return row
    return row | {"probabilities": dict(zip(labels, row["probabilities"].tolist(), strict=True))}


def of_each(row: dict[str, Any], labels: Sequence[str]) -> Sequence[float | None]:
    """The probability of each label, in order."""
    if not row["label"]:
        return [None] * len(labels)
    if len(labels) > 2:
        return row["probabilities"].tolist()
    return [1 - row["positive_probability"], row["positive_probability"]]


def problem_of(text: Any, may_be_empty: bool = False) -> str | None:
    """Why a text cannot be read, or None."""
    if text is None:
        return "there is no text"
    if not isinstance(text, str):
        return f"not a text but {type(text).__name__}"
    if not may_be_empty and not text.strip():
        return "the text is empty"
    return None if printable(text) == text else "the text is not valid Unicode"


def printable(text: Any) -> str:
    if not isinstance(text, str):
        return repr(text)[:200]
    return text if text.isascii() else text.encode(errors="replace").decode()
