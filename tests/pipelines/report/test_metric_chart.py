"""Where the chart's marks go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.metric_chart import BOTTOM, LEFT, RIGHT, TOP, metric_chart, nice_ticks


def version(
    number: int, created: str, value: float | None, verdict: str = "promote", *aliases: str
) -> dict[str, Any]:
    return {
        "version": number,
        "created": f"{created}Z",
        "value": value,
        "verdict": verdict,
        "aliases": list(aliases),
        "sample": False,
    }


VERSIONS = [
    version(1, "2026-07-01T03:00:00", 0.80),
    version(2, "2026-07-02T03:00:00", 0.70, "reject"),
    version(3, "2026-07-03T03:00:00", None, "reject"),
    version(4, "2026-07-04T03:00:00", 0.90, "promote", "champion"),
]


REIGNS = [("2026-07-01T03:00:00Z", 1), ("2026-07-04T03:00:00Z", 4)]


def test_points_are_in_the_frame_by_time_and_value() -> None:
    points = metric_chart(VERSIONS, "accuracy", REIGNS)["points"]
    assert [point["x"] for point in points] == [LEFT + 8, 166.7, RIGHT - 8]
    assert [point["y"] for point in points] == [68, BOTTOM, TOP]  # 0.8 of 0.7 to 0.9
    assert [point["promoted"] for point in points] == [True, False, True]
    assert [point["champion"] for point in points] == [False, False, True]
    assert points[1]["text"] == "version 2: 70.0%, reject"


def test_the_line_steps_where_the_champion_changes() -> None:
    def line(*reigns: tuple[str, int | None]) -> str:
        return metric_chart(VERSIONS, "accuracy", reigns)["line"]

    assert line(*REIGNS) == f"M{LEFT + 8}.0 68.0H380.0V12.0H{RIGHT}"
    # What the gate rejected was promoted by hand, and rolled back a day after the last release.
    by_hand = line(REIGNS[0], ("2026-07-02T03:00:00Z", 2), REIGNS[1], ("2026-07-05T03:00:00Z", 1))
    assert by_hand == f"M{LEFT + 8}.0 68.0H140.0V{BOTTOM}.0H300.0V12.0H380.0V68.0H{RIGHT}"
    # Nobody, or a version without a value, has no height.
    gap = line(REIGNS[0], ("2026-07-02T03:00:00Z", None), ("2026-07-03T03:00:00Z", 3), REIGNS[1])
    assert gap == f"M{LEFT + 8}.0 68.0H166.7M380.0 12.0H{RIGHT}"
    assert line() == ""


def test_the_axis_names_days_or_the_times_of_one_day() -> None:
    def texts(*created: str, reigns: tuple[tuple[str, int], ...] = ()) -> list[str]:
        versions = [version(number, time, 0.5) for number, time in enumerate(created)]
        return [tick["text"] for tick in metric_chart(versions, "accuracy", reigns)["x_ticks"]]

    assert texts("2026-07-01T03:00:00", "2026-07-04T03:00:00") == ["2026-07-01", "2026-07-04"]
    assert texts("2026-07-01T03:00:00", "2026-07-01T05:30:00") == ["2026-07-01 03:00", "05:30"]
    assert texts("2026-07-01T03:00:00") == ["2026-07-01"]
    assert texts("2026-07-01T03:00:00", reigns=(("2026-07-09T03:00:00Z", 0),)) == [
        "2026-07-01",
        "2026-07-09",
    ]


def test_no_value_gives_no_chart() -> None:
    assert metric_chart([], "accuracy", ()) is None
    assert metric_chart([VERSIONS[2]], "accuracy", REIGNS) is None


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.7, 0.9, [0.7, 0.75, 0.8, 0.85, 0.9]),
        (2.31, 2.36, [2.3, 2.32, 2.34, 2.36]),
        (1183.0, 1183.0, [1150.0, 1200.0]),
        (0.8, 0.8, [0.78, 0.8, 0.82]),
        (0.0, 0.0, [-0.5, 0.0, 0.5]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_hold_all_values_and_are_few(low: float, span: float) -> None:
    ticks = nice_ticks(low, low + span)
    assert ticks[0] <= low + 1e-5 and ticks[-1] >= low + span - 1e-5
    assert 2 <= len(ticks) <= 7 and ticks == sorted(set(ticks))
