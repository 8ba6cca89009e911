"""Variants of one pipeline: the grid of settings to compare."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

from pipelines.declaration.load import value_of
from pipelines.declaration.spec import Spec
from pipelines.errors import UsageError

MOST_VARIANTS = 1000  # each is trained
Grid = dict[str, tuple[Any, ...]]  # {dotted key: the values to try}
Variant = dict[str, Any]  # {dotted key: the value tried}


def grid_of(spec: Spec, given: list[str]) -> Grid:
    """The grid in `given`: the name of a declared one, or key=value,value texts."""
    if len(given) == 1 and "=" not in given[0]:
        if given[0] in spec.grids:
            return spec.grids[given[0]]
        known = ", ".join(spec.grids) or "none"
        raise UsageError(
            f"{spec.name} declares no grid {given[0]!r}; declared: {known}; "
            "or write key=value,value"
        )
    grid: Grid = {}
    for text in given:
        key, equals, values = text.partition("=")
        if not equals or not values:
            raise UsageError(
                f"--grid {text}: write key=value,value, such as model.cell=simple,lstm,gru"
            )
        grid[key.strip()] = tuple(value_of(f"[{values}]", f"--grid {key.strip()}"))
    if not grid:
        known = ", ".join(spec.grids) or "none"
        raise UsageError(
            f"give the values to try: --grid key=value,value, or a declared grid: {known}"
        )
    return grid


def variants(grid: Grid) -> list[Variant]:
    """Every combination, the last key varying fastest."""
    count = math.prod(map(len, grid.values()))
    if count > MOST_VARIANTS:
        raise UsageError(f"{count:,} variants: the limit is {MOST_VARIANTS}; try fewer values")
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def overrides(variant: Variant) -> tuple[str, ...]:
    return tuple(f"{key}={json.dumps(value)}" for key, value in variant.items())


def label(variant: Variant) -> str:
    """A short name, such as "cell lstm, max_tokens 100"."""
    values = (f"{key.rsplit('.', 1)[-1]} {value}" for key, value in variant.items())
    return ", ".join(values) or "as declared"
