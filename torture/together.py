"""Eight runs at once, of one pipeline and of two, with `gc`, `promote` and `rollback` between them:
each artifact is made once, the journal is whole, no database is locked."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

from torture.homes import PIPELINES, content_of, unrest
from torture.trials import Row, Trials

RUNS = 8
SECONDS = 3600  # for all of them


def tries(trials: Trials) -> None:
    most = RUNS if trials.seconds > 3600 else 4
    while trials.go_on():
        home = trials.homes.new(trials.folder / "home")
        names = trials.random.choice((["play"], ["reviews"], list(PIPELINES)))
        _together(trials, home, [trials.random.choice(names) for _ in range(most)])


def _together(trials: Trials, home: Path, names: list[str]) -> None:
    runs = []
    for name in names:
        runs.append(trials.homes.started(home, "run", trials.homes.declared(name), "--json"))
        time.sleep(trials.random.uniform(0, 3))
    others = [_other(trials, home, names) for _ in range(3)]
    records, built = [], Counter[str]()
    for process, name in zip(runs, names, strict=True):
        said = _said(process)
        trials.count("runs at once")
        _no_lock_is_seen(trials, said, f"run {name} beside {names}")
        if trials.expect(process.returncode == 0, f"run {name} beside {names}: {said[1][-500:]}"):
            records += json.loads(said[0])
    for process, what in others:
        said = _said(process)
        trials.count("commands beside them")
        _no_lock_is_seen(trials, said, what)
    for record in records:
        built.update(one["key"] for one in record["stages"] if one["action"] == "run")
    twice = [key[:8] for key, number in built.items() if number > 1]
    trials.expect(not twice, f"{names}: made more than once: {twice}")
    for name in set(names):
        same = content_of(home, name) == trials.homes.content[name]
        trials.expect(same, f"{names}: other bytes of {name}")
    for left in unrest(home):
        trials.broke(f"{names}: {left}")
    verified = trials.homes.folio(home, "verify")
    trials.expect(verified.code == 0, f"{names}: folio verify: {verified.out} {verified.err}")


def _other(trials: Trials, home: Path, names: list[str]) -> tuple[subprocess.Popen[str], str]:
    time.sleep(trials.random.uniform(0, 20))
    name = trials.random.choice(names)
    commands: tuple[list[Any], ...] = (
        ["gc", "--yes", "--older-than", "0"],
        ["promote", name, 1],
        ["rollback", name],
        ["list"],
        ["runs"],
    )
    command = trials.random.choice(commands)
    return trials.homes.started(home, *command), f"folio {command} beside {names}"


def _said(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


def _no_lock_is_seen(trials: Trials, said: tuple[str, str], what: str) -> None:
    text = "".join(said)
    trials.expect("database is locked" not in text, f"{what}: database is locked")
    trials.expect("Traceback" not in text, f"{what}: {text[-600:]}")


ROW = Row("together", "two of everything: each artifact is made once", {"runs at once": 400}, tries)
