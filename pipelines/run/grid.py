"""Variants of one pipeline: a grid of settings, each run, in one table and plot."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

from pipelines.declaration.load import value_of
from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.declaration.spec import Spec
from pipelines.errors import UsageError
from pipelines.files.home import made
from pipelines.store.artifacts import Store

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


def row(variant: Variant, record: dict[str, Any], store: Store) -> dict[str, Any]:
    """The table row of one variant: its figures, seconds per epoch, parameters."""
    keys = {entry["stage"]: entry["key"] for entry in record["stages"]}
    model = store.find("model", keys.get("model") or "")
    counts = model.counts if model else {}
    seconds = counts.get("epoch_seconds") or []
    return {
        "variant": variant,
        "run": record["run"],
        "error": record["error"],
        "metrics": record["metrics"],
        "parameters": counts.get("parameters"),
        "epochs": counts.get("epochs"),
        "best_epoch": counts.get("best_epoch"),
        "seconds_per_epoch": sorted(seconds)[len(seconds) // 2] if seconds else None,
    }


def best_first(rows: list[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Rows by their metric, failed ones last."""
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return sorted(
        rows, key=lambda row: (row["error"] is not None, sign * row["metrics"].get(metric, 0))
    )


def write_comparison(folder: Path, name: str, metric: str, rows: list[dict[str, Any]]) -> None:
    """`comparison.json`, and `comparison.png` with the metric of each variant."""
    from pipelines.report.plots.comparison import comparison_png

    made(folder)
    done = [row for row in rows if row["error"] is None]
    text = json.dumps({"pipeline": name, "metric": metric, "rows": rows}, indent=1)
    (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    if done:
        labels = [label(row["variant"]) for row in done]
        values = [row["metrics"][metric] for row in done]
        (folder / "comparison.png").write_bytes(comparison_png(labels, values, metric))


def label(variant: Variant) -> str:
    return ", ".join(f"{key.rsplit('.', 1)[-1]} {value}" for key, value in variant.items())
