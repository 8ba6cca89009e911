"""The slices of the held-out text that evaluation measures, and their names."""

from __future__ import annotations

from typing import Literal

SliceKind = Literal["length", "unknown_rate", "part", "group", "speaker"]
# The slices' upper limits: tokens of a document, and the share of unknown ones.
EDGES: dict[str, tuple[float, ...]] = {
    "length": (25, 50, 100, 200, 400),
    "unknown_rate": (0.0, 0.01, 0.03),
}
PARTS = 10  # of the test text, in order, with equal numbers of characters
NAMED = ("group", "speaker")  # kinds whose slices are named in the text
MOST_NAMED = 20  # slices of such a kind: those with the most text, and the rest as OTHERS
OTHERS = "all others"
LABELS = {
    "length": "tokens of the document",
    "unknown_rate": "share of unknown tokens",
    "part": "part of the text",
    "group": "group",
    "speaker": "speaker",
}


def slice_names(kind: str) -> tuple[str, ...]:
    """From the lowest to the highest; the names of NAMED kinds are not known in advance."""
    if kind in NAMED:
        return ()
    if kind == "part":
        return tuple(f"part {number} of {PARTS}" for number in range(1, PARTS + 1))
    shown = [f"{edge:,.0f}" if kind == "length" else f"{edge:.0%}" for edge in EDGES[kind]]
    upper = [
        f"up to {text}" if edge else "none" for edge, text in zip(EDGES[kind], shown, strict=True)
    ]
    return (*upper, f"over {shown[-1]}")
