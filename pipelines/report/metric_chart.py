"""The layout of a chart: a metric of all registered versions over time, as SVG lengths."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from pipelines.report.page import shown_figure

WIDTH, HEIGHT = 400, 150
LEFT, RIGHT, TOP, BOTTOM = 52, 388, 12, 124  # of the frame around the marks
MOST_STEPS = 4


def metric_chart(
    versions: list[dict[str, Any]], metric: str, reigns: Sequence[tuple[str, int | None]]
) -> dict[str, Any] | None:
    """{points, line, y_ticks, x_ticks}, or None if no version has a value.

    `versions` as in `list_models`, oldest first; `reigns` says who was champion from when on (None:
    nobody), as `champions.reigns_of` returns: the line steps from one to the next.
    """
    shown = [version for version in versions if version["value"] is not None]
    if not shown:
        return None
    times = [
        _seconds(time)
        for time in [*(version["created"] for version in shown), *(when for when, _ in reigns)]
    ]
    ticks = nice_ticks(min(v["value"] for v in shown), max(v["value"] for v in shown))
    x = _scale(min(times), max(times), LEFT + 8, RIGHT - 8)
    y = _scale(ticks[0], ticks[-1], BOTTOM, TOP)
    points = [
        _point(version, metric, x(_seconds(version["created"])), y(version["value"]))
        for version in shown
    ]
    heights = {version["version"]: point["y"] for version, point in zip(shown, points, strict=True)}
    line = _line([(x(_seconds(when)), heights.get(champion)) for when, champion in reigns])
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": RIGHT,
        "bottom": BOTTOM,
        "points": points,
        "line": line,
        "y_ticks": [{"y": y(tick), "text": shown_figure(tick, metric)} for tick in ticks],
        "x_ticks": _x_ticks([version["created"] for version in shown], reigns, x),
    }


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _point(version: dict[str, Any], metric: str, x: float, y: float) -> dict[str, Any]:
    sample = " (sample)" if version["sample"] else ""
    return {
        "x": x,
        "y": y,
        "promoted": version["verdict"] == "promote",
        "champion": "champion" in version["aliases"],
        "text": f"version {version['version']}{sample}: "
        f"{shown_figure(version['value'], metric)}, {version['verdict']}",
    }


def _scale(low: float, high: float, start: float, end: float) -> Any:
    """A value between `low` and `high` to a length; a single value to the middle."""
    if high == low:
        return lambda value: (start + end) / 2
    return lambda value: round(start + (value - low) / (high - low) * (end - start), 1)


def _line(steps: Sequence[tuple[float, float | None]]) -> str:
    """The path of an SVG line that steps from champion to champion, up to the right edge; it stops
    where there is none, or one without a value."""
    path, drawing = "", False
    for place, height in steps:
        if drawing:
            path += f"H{place}"
        if height is not None:
            path += f"V{height}" if drawing else f"M{place} {height}"
        drawing = height is not None
    return f"{path}H{RIGHT}" if drawing else path


def _x_ticks(
    created: Sequence[str], reigns: Sequence[tuple[str, int | None]], x: Callable[[float], float]
) -> list[dict[str, Any]]:
    """The first and the last day, or the times of a single day."""
    times = sorted({*created, *(when for when, _ in reigns)})
    first, last = times[0], times[-1]
    if first == last:
        return [{"x": x(_seconds(first)), "anchor": "middle", "text": first[:10]}]
    one_day = first[:10] == last[:10]
    return [
        {
            "x": LEFT,
            "anchor": "start",
            "text": f"{first[:10]} {first[11:16]}" if one_day else first[:10],
        },
        {"x": RIGHT, "anchor": "end", "text": last[11:16] if one_day else last[:10]},
    ]


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers at equal steps (1, 2 or 5 times a power of ten) that include `low` and
    `high`."""
    span = high - low or abs(high) / 10 or 1.0
    rough = span / MOST_STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    # Rounded first: 0.7 / 0.05 is slightly less than 14.
    first, last = math.floor(round(low / step, 9)), math.ceil(round(high / step, 9))
    if first == last:
        first, last = first - 1, last + 1
    return [round(number * step, 12) for number in range(first, last + 1)]
