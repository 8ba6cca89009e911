"""The slices of the test documents that evaluation measures, and how they are called."""

from __future__ import annotations

# The slices' upper ends: tokens, and the share of unknown tokens.
EDGES: dict[str, tuple[float, ...]] = {"length": (100, 200, 400), "unknown_rate": (0.0, 0.01, 0.03)}


def slice_names(kind: str) -> tuple[str, ...]:
    """Of `length` or `unknown_rate`, from the lowest values to the highest."""
    shown = [f"{edge:,.0f}" if kind == "length" else f"{edge:.0%}" for edge in EDGES[kind]]
    upper = [f"up to {text}" if edge else "none"
             for edge, text in zip(EDGES[kind], shown, strict=True)]
    return (*upper, f"over {shown[-1]}")
