"""What may go is decided: on stocks that hypothesis makes up, and case by case."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.registry.versions import Version, rollback_target
from pipelines.store.artifacts import Artifact
from pipelines.store.times import utc
from pipelines.upkeep.garbage import (
    DAY,
    Leftover,
    Policy,
    Stock,
    collectable,
    kept_versions,
    recent,
)
from tests.plain_stages import NAMES

NOW = 1_800_000_000.0
OLD = utc(NOW - 30 * DAY)
HOME = Path("/home-of-folio")


def artifact(
    stage: str,
    number: int,
    inputs: dict[str, str] | None = None,
    created: str = OLD,
    **manifest: object,
) -> Artifact:
    key = f"{number:02x}" * 32
    return Artifact(
        stage,
        key,
        HOME / stage / key,
        {
            "digest": f"{stage} {number}",
            "inputs": inputs or {},
            "created": created,
            "run": "old",
            "config": {},
            "counts": {},
        }
        | manifest,
    )


def run(name: str, number: int, *artifacts: Artifact, **changes: object) -> dict:
    return {
        "run": f"{number:04}-{name}",
        "pipeline": name,
        "state": "done",
        "started": OLD,
        "version": None,
        "stages": [{"stage": one.stage, "key": one.key} for one in artifacts],
        **changes,
    }


def version(number: int, *aliases: str, verdict: str = "promote", **tags: str) -> Version:
    own = {"package": "p", "verdict": verdict} | tags
    return Version(
        "play",
        number,
        OLD,
        f"/models/{number}",
        aliases=aliases,
        tags={f"folio.{name}": value for name, value in own.items()},
    )


EMPTY = Stock(
    NOW,
    HOME / "runs",
    [],
    set(),
    [{"run": "old", "pipeline": "none", "state": "done", "started": OLD, "stages": []}],
    [],
    [],
    [],
)


def names(stock: Stock, **policy: float) -> set[str]:
    return {item.name for item in collectable(stock, Policy(**policy))}


@st.composite
def stores(draw: st.DrawFn) -> list[Artifact]:
    """Artifacts of all stages, each made of some of the stages above; some share their content."""
    made: list[Artifact] = []
    for number in range(draw(st.integers(1, 25))):
        stage = draw(st.integers(0, NAMES.index("metrics")))
        above = {}
        for name in draw(st.sets(st.sampled_from(NAMES[:stage]))) if stage else ():
            found = [one.digest for one in made if one.stage == name]
            if found:
                above[name] = draw(st.sampled_from(found))
        same = draw(st.sampled_from([None, *(one for one in made if one.stage == NAMES[stage])]))
        digest = {"digest": same.digest} if same else {}
        made.append(artifact(NAMES[stage], number, above, utc(NOW - (40 - number) * DAY), **digest))
    return made


def lineage(roots: list[Artifact], made: list[Artifact]) -> Iterator[Artifact]:
    """By definition: a root, or the last made of those with the content that a kept one names."""
    for root in roots:
        yield root
        if root.stage != "source":
            for stage, digest in root.manifest["inputs"].items():
                yield from lineage(
                    [[one for one in made if (one.stage, one.digest) == (stage, digest)][-1]], made
                )


@pytest.mark.slow
@given(stores(), st.data())
def test_what_is_needed_stays_and_all_else_goes(made: list[Artifact], data: st.DataObject) -> None:
    roots = data.draw(st.lists(st.sampled_from(made), unique_by=lambda one: one.path))
    record = run("play", 1, *roots)
    stock = replace(EMPTY, artifacts=made, records=[record, *EMPTY.records])
    gone = {item.path for item in collectable(stock, Policy(runs=1))}
    assert {one.path for one in made} - gone == {one.path for one in lineage(roots, made)}
    left = replace(stock, artifacts=[one for one in made if one.path not in gone])
    assert collectable(left, Policy(runs=1)) == []


def test_a_root_of_each_kind() -> None:
    made = [artifact("model", number) for number in range(7)]
    released = artifact("release", 9, config={"name": "play"}, counts={"version": 3})
    lost = artifact("release", 8, config={"name": "play"}, counts={"version": 2})
    stock = replace(
        EMPTY,
        artifacts=[*made, released, lost],
        used={made[1].path},
        versions=[
            version(1, **{"model.key": made[2].key}),
            version(2, verdict="reject", **{"model.key": made[3].key}),
            version(3, "champion", **{"model.key": made[4].key}),
        ],
        records=[
            run("other", 9, made[0]),
            run("play", 8),
            run("play", 7, made[5], version=3),
            run("play", 6, made[6]),
            *EMPTY.records,
        ],
    )
    kept = {f"model {one.key[:12]}" for one in (made[0], made[1], made[2], made[4], made[5])}
    going = names(stock, runs=1)
    assert not kept & going
    assert {
        f"model {made[3].key[:12]}",
        f"model {made[6].key[:12]}",
        f"release {lost.key[:12]}",
        "play version 2",
        "0006-play",
    } <= going
    assert f"release {released.key[:12]}" not in going and "0007-play" not in going


def test_what_a_live_or_killed_run_has_made_stays() -> None:
    before, since = (
        artifact("model", number, created=utc(NOW - hours * 3600))
        for number, hours in ((1, 3), (2, 1))
    )
    began = {"run": "now", "started": utc(NOW - 2 * 3600)}
    assert names(replace(EMPTY, artifacts=[before, since])) == {
        f"model {one.key[:12]}" for one in (before, since)
    }
    assert names(replace(EMPTY, artifacts=[before, since], live=[began])) == {
        f"model {before.key[:12]}"
    }
    assert names(replace(EMPTY, artifacts=[before, since], live=[{"run": "unknown"}])) == set()
    killed = [artifact("model", 3, created=utc(NOW - days * DAY), run="killed") for days in (6, 8)]
    assert names(replace(EMPTY, artifacts=killed[:1])) == set()
    assert names(replace(EMPTY, artifacts=killed[1:])) == {f"model {killed[1].key[:12]}"}


def test_failed_runs_do_not_push_out_good_ones() -> None:
    records = [
        run("a", 9, state="failed"),
        run("b", 8),
        run("a", 7),
        run("a", 6, state="failed"),
        run("a", 5, state="nothing-to-do"),
        run("a", 4),
    ]
    assert [one["run"] for one in recent(records, 2)] == [
        "0009-a",
        "0008-b",
        "0007-a",
        "0006-a",
        "0005-a",
    ]


def test_the_rollback_target_is_the_latest_promoted_before_the_champion() -> None:
    known = [
        version(1),
        version(2),
        version(3, verdict="reject"),
        version(4, "champion"),
        version(5, "challenger", verdict="reject"),
        version(6),
    ]
    assert rollback_target(known, "play", []) == known[1]
    assert rollback_target(known[3:], "play", []) is None
    assert rollback_target([version(1), version(2)], "play", []) == version(2)
    assert kept_versions(known, [], 1, {}) == {("play", number) for number in (2, 4, 5, 6)}


def test_the_journal_says_better_who_was_champion_before() -> None:
    known = [version(1), version(2), version(3, verdict="inconclusive"), version(4, "champion")]
    assert rollback_target(known, "play", [1, 2, 3, 4]) == known[2]  # promoted by hand
    assert rollback_target(known, "play", [1, 9, 4]) == known[0]  # 9 is gone
    assert rollback_target(known, "play", [4]) == known[1]  # older than the journal
    assert kept_versions(known, [], 1, {"play": [1, 4]}) == {("play", 1), ("play", 4)}


def test_what_somebody_registered_by_hand_stays() -> None:
    own = replace(version(1), tags={})
    assert kept_versions([own, version(2), version(3, "champion")], [], 1, {}) == {
        ("play", 1),
        ("play", 2),
        ("play", 3),
    }


def test_leftovers_go_by_kind_and_age() -> None:
    key = "a" * 64

    def left(kind: str, days: float, busy: bool = False) -> Leftover:
        return Leftover(kind, HOME / "model" / f"{kind} {days:g}", NOW - days * DAY, key, busy)

    kinds = ("unfinished", "unfinished copy", "partial work", "damaged artifact", "log")
    stock = replace(EMPTY, leftovers=[left(kind, days) for kind in kinds for days in (0.1, 3, 9)])
    assert names(stock) == {
        "unfinished 0.1",
        "unfinished 3",
        "unfinished 9",
        "unfinished copy 3",
        "unfinished copy 9",
        "partial work 9",
        "damaged artifact 9",
        "log 9",
    }
    assert {"partial work 3", "log 3"} < names(stock, days=2)
    busy = [left(kind, 99, busy=True) for kind in (*kinds, "lock")]
    assert names(replace(EMPTY, leftovers=busy)) == set()


def test_a_lock_goes_when_its_key_has_nothing_else() -> None:
    made = artifact("model", 1)
    own, alone, working = (
        Leftover("lock", HOME / "model" / f".lock-{key}", NOW, key)
        for key in (made.key, "b" * 64, "c" * 64)
    )
    work = Leftover("partial work", HOME / "model" / ".work-c", NOW, working.key)
    stock = replace(
        EMPTY, artifacts=[made], used={made.path}, leftovers=[own, alone, working, work]
    )
    assert names(stock) == {alone.path.name}


def test_records_and_comparisons_go_together() -> None:
    old, young = run("play", 1), run("play", 3, started=utc(NOW - DAY))
    stock = replace(
        EMPTY,
        records=[young, run("play", 2), old, *EMPTY.records],
        leftovers=[
            Leftover("comparison", HOME / "comparisons" / f"000{number}-play", NOW - 30 * DAY)
            for number in (1, 2, 3)
        ],
    )
    items = collectable(stock, Policy(runs=2))
    assert [(item.kind, item.name) for item in items] == [
        ("run record", "0001-play"),
        ("comparison", "0001-play"),
    ]
    assert items[0].path == HOME / "runs" / "0001-play.json"
