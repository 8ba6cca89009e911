"""The journal: whatever is done to its lines shows, and it tells who was champion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.registry.journal import Journal, Line, reigns, who, withdrawn


def entry(model: str, version: int) -> Line:
    return {
        "time": "2026-11-01T06:30:00Z",
        "who": "ann@host",
        "action": "release",
        "model": model,
        "version": version,
        "former": None,
        "champion": version,
        "reason": "grün\nrot",
    }


def written(folder: Path, count: int = 5) -> Journal:
    journal = Journal(folder / "mlflow" / "journal.jsonl")
    for number in range(count):
        model = ("films", "play")[number % 2]
        journal.append(journal.sealed(entry(model, number)))
    return journal


def test_what_was_written_is_read_and_whole(tmp_path: Path) -> None:
    journal = written(tmp_path)
    assert list(journal.problems()) == []
    assert [line["version"] for line in journal.lines("films")] == [0, 2, 4]
    lines = journal.lines()
    assert [line["number"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["previous"] for line in lines] == [None, *(one["digest"] for one in lines[:-1])]
    assert list(Journal(tmp_path / "none.jsonl").problems()) == []


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, 4),
    st.sampled_from(["version", "reason", "model", "number", "previous", "digest"]),
)
def test_a_changed_line_is_found(tmp_path: Path, at: int, key: str) -> None:
    path = tmp_path / "mlflow" / "journal.jsonl"
    path.unlink(missing_ok=True)
    journal = written(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    line = json.loads(lines[at])
    lines[at] = json.dumps(line | {key: 17}, ensure_ascii=False)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (first, *_) = journal.problems()
    assert first.startswith(f"{path}:{at + 1}: was changed after it was written")


@pytest.mark.parametrize("at", [0, 2, 3])
def test_a_line_taken_out_or_rewritten_is_found(tmp_path: Path, at: int) -> None:
    journal = written(tmp_path)
    lines = journal.path.read_text(encoding="utf-8").splitlines()
    journal.path.write_text("\n".join([*lines[:at], *lines[at + 1 :]]) + "\n", encoding="utf-8")
    assert [problem for problem in journal.problems() if "does not follow" in problem]
    # A forger who computes the digest anew breaks the chain at the next line.
    other = Journal(tmp_path / "other.jsonl")
    for line in lines[:at]:
        other.append(json.loads(line))
    other.append(other.sealed(entry("films", 99)))
    rest = "\n".join([*other.path.read_text(encoding="utf-8").splitlines(), *lines[at + 1 :]])
    journal.path.write_text(rest + "\n", encoding="utf-8")
    assert list(journal.problems()) == [
        f"{journal.path}:{at + 2}: does not follow the previous line: a line was removed or "
        "inserted"
    ]


def test_half_a_line_is_told_and_goes_with_the_next(tmp_path: Path) -> None:
    journal = written(tmp_path, 2)
    with journal.path.open("ab") as file:
        file.write(b'{"number": 3, "previous": "ab')
    assert list(journal.problems()) == [f"{journal.path}:3: not a line of the journal"]
    journal.append(journal.sealed(entry("play", 7)))
    assert list(journal.problems()) == []
    assert [line["version"] for line in journal.lines()] == [0, 1, 7]


def told(action: str, champion: int | None, former: int | None = None) -> Line:
    return {"action": action, "champion": champion, "former": former, "time": f"t{champion}"}


@pytest.mark.parametrize(
    ("lines", "stack"),
    [
        ([], []),
        (
            [told("release", None), told("release", 2), told("release", 2), told("release", 4)],
            [2, 4],
        ),
        ([told("release", 1), told("release", 2), told("rollback", 1)], [1]),
        (
            [
                told("release", 1),
                told("release", 2),
                told("release", 3),
                told("rollback", 2),
                told("rollback", 1),
            ],
            [1],
        ),
        ([told("release", 1), told("release", 2), told("rollback", 1), told("release", 3)], [1, 3]),
        ([told("release", 1), told("release", 2), told("promote", 1), told("rollback", 2)], [1, 2]),
        ([told("release", 1), told("found", None), told("promote", 5)], [5]),
    ],
)
def test_reigns_are_what_rollbacks_lead_back_through(lines: list[Line], stack: list[int]) -> None:
    assert reigns(lines) == stack


def test_what_was_rolled_back_stays_so_until_it_is_promoted_by_hand() -> None:
    lines = [told("release", 1), told("release", 2), told("rollback", 1, former=2)]
    assert withdrawn(lines, {2}) == "t1" and withdrawn(lines, {1}) is None
    assert withdrawn([*lines, told("release", 1)], {2}) == "t1"
    assert withdrawn([*lines, told("promote", 2)], {2}) is None
    # The same package under two numbers: rolled back as the one, promoted as the other.
    assert withdrawn(lines, {2, 3}) == "t1"
    assert withdrawn([*lines, told("promote", 3)], {2, 3}) is None


def test_who_names_user_and_machine() -> None:
    user, at, machine = who().partition("@")
    assert user and at and machine
