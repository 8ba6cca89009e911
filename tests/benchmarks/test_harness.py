"""The harness on two small functions that really run, and what is written of them."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from benchmarks import plot, results
from benchmarks.__main__ import COMPARISONS
from benchmarks.harness import Measured, Side, Turn, apart, rate, spread, take_turns, timed
from benchmarks.results import Row

SORTED = 20_000


def sorting(values: int, log: Path, name: str) -> Turn:
    """Seconds to sort so many numbers; notes each turn, and in which process."""
    numbers = np.random.default_rng(1).random(values)

    def turn() -> float:
        with log.open("a") as file:
            file.write(f"{name} {os.getpid()}\n")
        return timed(lambda: sorted(numbers))

    return turn


def holding(megabytes: int) -> Turn:
    held = np.ones(megabytes * 2**17)  # 8 bytes each
    return lambda: float(held[-1])


def failing() -> Turn:
    raise ValueError("no such thing")


def dying() -> Turn:
    return lambda: os._exit(3)


def row(name: str, ours: float, other: float, goal: float | None = 2, **changes: object) -> Row:
    return Row.times(
        name, "Sorting", "the other", Measured((ours,)), Measured((other,)), "s", goal, **changes
    )


@pytest.mark.slow
def test_sides_take_turns_in_processes_of_their_own(tmp_path: Path) -> None:
    log = tmp_path / "turns"
    found = take_turns(
        {
            "few": Side(sorting, (SORTED, log, "few")),
            "many": Side(sorting, (8 * SORTED, log, "many")),
        },
        3,
    )
    turns = [line.split() for line in log.read_text().splitlines()]
    assert [name for name, _ in turns] == ["few", "many"] * 3
    processes = {
        name: {process for other, process in turns if other == name} for name in ("few", "many")
    }
    assert all(len(used) == 1 for used in processes.values())
    assert len({*processes["few"], *processes["many"], str(os.getpid())}) == 3
    assert [len(each.values) for each in found.values()] == [3, 3]
    compared = Row.times(
        "sort/many", "Sorting", "8 times as many", found["few"], found["many"], "s", 3
    )
    assert compared.ratio > 3 and compared.met
    assert compared.ours == sorted(found["few"].values)[1]


@pytest.mark.slow
def test_peak_memory_is_the_sides_own() -> None:
    found = take_turns({"small": Side(holding, (1,)), "large": Side(holding, (200,))}, 1)
    more = found["large"].peak_bytes - found["small"].peak_bytes
    assert 150 * 2**20 < more < 250 * 2**20


@pytest.mark.slow
def test_a_side_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"bad: (?s:.)*ValueError: no such thing"):
        take_turns({"bad": Side(failing)}, 1)
    with pytest.raises(RuntimeError, match="gone: its process ended with 3"):
        take_turns({"gone": Side(dying)}, 1)


def test_a_function_apart_gives_its_result() -> None:
    assert apart(divmod, 17, 5) == (3, 2)
    assert apart(os.getpid) != os.getpid()


def test_rate_counts_whole_steps() -> None:
    found = rate(lambda: time.sleep(0.02), 10, 0.1)()
    assert 300 < found <= 500  # 10 items in each 20 ms, or a little more


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    ours, other = Measured((1.0, 4.0, 2.0)), Measured((3.0, 4.0, 8.0))
    seconds = Row.times("a/b", "", "", ours, other, "s", 3)
    assert (seconds.ours, seconds.other, seconds.ratio, seconds.runs) == (2, 4, 3, 3)
    assert seconds.met
    rates = Row.times("a/b", "", "", other, ours, "items/s", 3.5)
    assert rates.ratio == 3 and rates.met is False
    assert Row.times("a/b", "", "", ours, other, "s", None).met is None
    assert Row.within("a/c", "", 2.5, "s", 3, 5).met
    assert not Row.within("a/c", "", 3.5, "s", 3, 5).met


def test_spread_takes_batches_of_all_widths() -> None:
    widths = np.array([5, 1, 4, 2, 3, 9, 8, 7, 6, 0])
    assert sorted(widths[spread(widths, 5)]) == [1, 3, 5, 7, 9]
    assert len(spread(widths, 50)) == 10


def test_new_figures_replace_those_of_their_name_alone(tmp_path: Path) -> None:
    results.save(tmp_path, [row("sort/a", 1, 3), row("sort/b", 1, 1), row("read/a", 1, 1)], "first")
    skipped = results.skipped("sort/b", "Sorting", "b", "b is not installed")
    unknown = results.skipped("sort/c", "Sorting", "c", "c is not installed")
    new = [row("sort/a", 1, 5), skipped, unknown]
    merged = results.merged(results.load(tmp_path), new, ("read", "sort"))
    assert [(each.name, each.ratio) for each in merged] == [
        ("read/a", 1),
        ("sort/a", 5),
        ("sort/b", 1),
        ("sort/c", None),
    ]
    results.save(tmp_path, merged, "second")
    entries = json.loads((tmp_path / results.JSON).read_text())
    assert [entry["name"] for entry in entries] == ["read/a", "sort/a", "sort/b"]
    assert (
        entries[1].items()
        >= {
            "name": "sort/a",
            "ours": 1.0,
            "other": 5.0,
            "unit": "s",
            "ratio": 5.0,
            "goal": 2,
            "met": True,
            "runs": 1,
        }.items()
    )


def test_the_page_says_what_was_met_missed_and_not_measured(tmp_path: Path) -> None:
    rows = [
        row("sort/a", 0.012345, 1234.5),
        row("sort/b", 1, 1.5, note="Half of it waits."),
        Row.within("sort/memory", "Sorting: memory", 1.2, "GB", 1, 5),
        results.skipped("sort/c", "Sorting", "c", "c is not installed"),
    ]
    results.save(tmp_path, rows, "make bench ONLY=sort")
    page = (tmp_path / results.PAGE).read_text()
    assert "1 of 3 goals met" in page and "`make bench ONLY=sort`" in page
    assert "| sort/a | Sorting | the other | 0.0123 s | 1,234 s | 100,000× | ≥ 2× | met |" in page
    assert "| 1 s | 1.5 s | 1.5× | ≥ 2× | **missed** |" in page
    assert "| sort/memory | Sorting: memory |  | 1.2 GB |  |  | ≤ 1 GB | **missed** |" in page
    missed, unmeasured = page.split("## Missed")[1].split("## Not measured")
    assert "**sort/b**: 1.5×; the goal is 2×. Half of it waits." in missed
    assert "**sort/memory**: 0.2 GB above the goal." in missed and "sort/a" not in missed
    assert "**sort/c**: c is not installed" in unmeasured


def test_a_busy_machine_is_told(tmp_path: Path) -> None:
    quiet = row("sort/a", 1, 3)
    assert "busy" not in results.page([quiet], "")
    assert "up to 75% of the cores" in results.page([quiet, replace(quiet, in_use=0.75)], "")


def test_the_plot_has_a_bar_for_each_ratio(tmp_path: Path) -> None:
    rows = [
        row("sort/a", 1, 300),
        row("sort/b", 1, 1.5),
        row("sort/limit", 1, 0.5),
        Row.within("sort/memory", "Sorting: memory", 1.2, "GB", 1, 5),
    ]
    path = plot.draw(rows, tmp_path)
    first = path.read_bytes()
    assert first.startswith(b"<?xml") and plot.draw(rows, tmp_path).read_bytes() == first
    assert plot.draw(rows[2:], tmp_path / "none") is None


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_comparison_is_there(name: str) -> None:
    assert callable(import_module(f"benchmarks.{COMPARISONS[name]}").compare)
