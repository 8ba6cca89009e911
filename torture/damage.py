"""One byte of a file of an artifact is changed, or more: plan and run notice it and heal it."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.run.execute import OTHERWISE
from torture.homes import PIPELINES, content_of, registered
from torture.trials import Row, Trials

EACH = 12  # trials, one is also asked as a command
Harm = Callable[[Path, Path, random.Random], None]  # the file, one of another artifact


def flip(path: Path, other: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    place = chance.randrange(len(data)) if data else 0
    data[place : place + 1] = bytes([data[place] ^ 1 << chance.randrange(8)]) if data else b"x"
    path.write_bytes(data)


def shorten(path: Path, other: Path, chance: random.Random) -> None:
    size = path.stat().st_size
    os.truncate(path, chance.randrange(size) if size else 1)


def grow(path: Path, other: Path, chance: random.Random) -> None:
    with path.open("ab") as file:
        file.write(chance.randbytes(chance.randint(1, 5000)))


def remove(path: Path, other: Path, chance: random.Random) -> None:
    path.unlink()


def swap(path: Path, other: Path, chance: random.Random) -> None:
    same = other.read_bytes() == path.read_bytes()
    path.write_bytes(other.read_bytes() + b"\n" * same)


def link(path: Path, other: Path, chance: random.Random) -> None:
    kept = path.with_name(f".kept-{chance.randrange(10**9)}")
    away = path.parents[3] / kept.name
    shutil.move(path, away)
    path.symlink_to(away)


def add(path: Path, other: Path, chance: random.Random) -> None:
    path.with_name(f"added-{chance.randrange(10**9)}").write_bytes(b"more")


def edit(path: Path, other: Path, chance: random.Random) -> None:
    """Another value somewhere in the manifest, which stays valid JSON."""
    manifest = path.parent / "manifest.json"
    while not manifest.exists():
        manifest = manifest.parent.parent / "manifest.json"
    found = json.loads(manifest.read_bytes())
    place: Any = found
    while True:
        key = chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
        if not isinstance(place[key], dict | list) or not place[key]:
            break
        place = place[key]
    place[key] = 17 if place[key] != 17 else 18
    manifest.write_text(json.dumps(found))


HARMS: dict[str, Harm] = {
    "changed": flip,
    "shortened": shorten,
    "grown": grow,
    "removed": remove,
    "swapped": swap,
    "linked": link,
    "added to": add,
    "manifest edited": edit,
}


def tries(trials: Trials) -> None:
    home = trials.homes.new(trials.folder / "home", trials.homes.trained)
    number = 0
    while trials.go_on():
        number += 1
        if not _trial(trials, home, number % EACH == 0):
            home = trials.homes.new(trials.folder / "home", trials.homes.trained)


def _trial(trials: Trials, home: Path, asks_command: bool) -> bool:
    """Whether the home is sound again."""
    chance, name = trials.random, trials.random.choice(list(PIPELINES))
    folders = _folders(home)
    stage = chance.choice(sorted(folders[name]))
    own, other = folders[name][stage], folders[_other(name)][stage]
    path = chance.choice(_files(own))
    harm = chance.choice(list(HARMS))
    what = f"{name}: {path.relative_to(own.parent.parent)} {harm}"
    HARMS[harm](path, chance.choice(_files(other)), chance)
    trials.count("files damaged")
    before = _planned(trials, home, name)
    if before is None:
        return False
    action, reason = before[stage]
    noticed = action == "rebuild" and reason.startswith("artifact damaged: ")
    trials.expect(noticed, f"{what}: the plan says {action} ({reason}) for {stage}")
    if asks_command:
        asked = trials.homes.folio(home, "plan", trials.homes.declared(name), "--json")
        same = asked.code == 0 and [
            (one["stage"], one["action"]) for one in json.loads(asked.out)["stages"]
        ] == [(name, action) for name, (action, _) in before.items()]
        trials.expect(same, f"{what}: folio plan says something else: {asked.out[:300]}")
    healed = _healed(trials, home, name, what, before)
    return healed and noticed and stage != "release"  # which says other things then


def _healed(
    trials: Trials, home: Path, name: str, what: str, planned: dict[str, tuple[str, str]]
) -> bool:
    log, answer = trials.folder / "log", trials.folder / "record.json"
    log.unlink(missing_ok=True)
    given = [str(home), str(trials.homes.declared(name)), str(answer)]
    ended = trials.homes.forge.run("torture.work:run", given, home, log)
    if ended == 1 and _is_one_line(log):
        said = log.read_text(errors="replace")
        trials.expect(OTHERWISE not in said, f"{what}: {said}")
        trials.count("refused in a line")
        return False
    if not trials.expect(ended == 0, f"{what}: run ends with {ended}: {log.read_text()[-400:]}"):
        return False
    done = {one["stage"]: one["action"] for one in json.loads(answer.read_bytes())["stages"]}
    lies = [
        stage
        for stage, (action, reason) in planned.items()
        if done[stage] != action and "reused if the input bytes do not change" not in reason
    ]
    trials.expect(not lies, f"{what}: the plan was {planned}, the run did {done}")
    sound = trials.expect(
        content_of(home, name) == trials.homes.content[name], f"{what}: healed with other bytes"
    )
    versions = registered(home, name)
    sound &= trials.expect(versions == [1], f"{what}: versions {versions} after it was healed")
    after = _planned(trials, home, name) or {}
    quiet = set(after.values()) == {("reuse", "nothing changed")}
    trials.expect(quiet, f"{what}: after it was healed the plan says {after}")
    trials.count("healed", sound and quiet)
    return sound and quiet and not lies


def _planned(trials: Trials, home: Path, name: str) -> dict[str, tuple[str, str]] | None:
    log, answer = trials.folder / "log", trials.folder / "plan.json"
    log.unlink(missing_ok=True)
    given = [str(home), str(trials.homes.declared(name)), str(answer)]
    ended = trials.homes.forge.run("torture.work:foresee", given, home, log)
    if not trials.expect(ended == 0, f"{name}: plan ends with {ended}: {log.read_text()[-400:]}"):
        return None
    return {one["stage"]: (one["action"], one["reason"]) for one in json.loads(answer.read_bytes())}


def _folders(home: Path) -> dict[str, dict[str, Path]]:
    found: dict[str, dict[str, Path]] = {name: {} for name in PIPELINES}
    for path in sorted((home / "store").glob("[!.]*/[0-9a-f]*/manifest.json")):
        manifest = json.loads(path.read_bytes())
        found[manifest["pipeline"]][manifest["stage"]] = path.parent
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _other(name: str) -> str:
    return next(one for one in PIPELINES if one != name)


def _is_one_line(log: Path) -> bool:
    text = log.read_text(errors="replace")
    return "Traceback" not in text and text.count("folio: ") == 1


ROW = Row(
    "store", "the store never lies: damage is noticed, and healed", {"files damaged": 5000}, tries
)
