"""What counts as slower than before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import history
from benchmarks.results import Row

HERE = "Machine: a processor, 2 cores. Python 3.11"
FAST = Row("char/loop", "", "", 6.0, 1.0, "s", 6.0, 5.0, True, machine=HERE, in_use=0.0)
LIMIT = Row("idle/run", "", "", 1.0, None, "s", None, 1.5, True, machine=HERE, in_use=0.0)


def test_a_met_goal_that_falls_by_a_fifth_is_named(tmp_path: Path) -> None:
    history.append(tmp_path, [FAST, LIMIT], "abc123")
    earlier = history.read(tmp_path)
    assert [line["figure"] for line in earlier] == [6.0, 1.0]
    assert not history.slower(earlier, [replace(FAST, ratio=4.9), replace(LIMIT, ours=1.2)])
    assert not history.slower(earlier, [replace(FAST, goal=7.0), replace(LIMIT, goal=0.5)])
    slow = history.slower(earlier, [replace(FAST, ratio=4.7), replace(LIMIT, ours=1.3)])
    assert slow[0].startswith("char/loop: 4.7 instead of 6 at abc123 (")
    assert slow[0].endswith("-22%") and slow[1].startswith("idle/run: 0.769 instead of 1 ")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"met": False}, {}),
        ({"machine": "Machine: another processor, 8 cores. Python 3.11"}, {}),
        ({"in_use": 0.5}, {}),
        ({}, {"in_use": 0.5}),
        ({"name": "char/other"}, {}),
    ],
)
def test_what_proves_nothing_is_not(tmp_path: Path, before: dict, now: dict) -> None:
    history.append(tmp_path, [replace(FAST, **before)], "abc123")
    assert not history.slower(history.read(tmp_path), [replace(FAST, ratio=1.0, **now)])


def test_the_newest_counts_and_other_python_versions_are_the_same_machine(tmp_path: Path) -> None:
    history.append(tmp_path, [FAST], "abc123")
    newer = replace(FAST, ratio=9.0, machine=HERE.replace("3.11", "3.12"))
    history.append(tmp_path, [newer, replace(FAST, ratio=None, goal=None)], "def456")
    assert len(history.read(tmp_path)) == 2
    (found,) = history.slower(history.read(tmp_path), [FAST])
    assert "instead of 9 at def456" in found
