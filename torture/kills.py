"""Runs are killed at any moment, with everything that they started, or stopped for a while; or the
power fails. The next run must end with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from torture.homes import PIPELINES, Said, content_of, processes_of, registered, unrest
from torture.trials import Row, Trials

MOST_KILLS = 3  # of one run, before it may end
PLAIN = ("process", "process", "process", "stop and continue", "power")
SERVED = ("process", "tree", "server", "stop and continue", "all")  # with the Prefect server
EACH = 6  # trials, one is a command with a server
LONGEST = 900  # seconds of a command


def tries(trials: Trials) -> None:
    number, pace = 0, dict.fromkeys(PIPELINES, 4.0)
    while trials.go_on():
        number += 1
        name = trials.random.choice(list(PIPELINES))
        home = trials.homes.new(trials.folder / "home")
        if number % EACH:
            _plain(trials, home, name, pace)
        else:
            _served(trials, home, name, pace)
        shutil.rmtree(home, ignore_errors=True)


def _plain(trials: Trials, home: Path, name: str, pace: dict[str, float]) -> None:
    """Without Prefect: one process, which does all the work of a run."""
    log, forge = trials.folder / "log", trials.homes.forge
    log.unlink(missing_ok=True)
    given = [str(home), str(trials.homes.declared(name))]
    done: list[str] = []
    for _ in range(trials.random.randint(1, MOST_KILLS)):
        kind = trials.random.choice(PLAIN)
        done.append(kind)
        if kind == "power":
            lasts = [trials.random.randint(1, 160), str(trials.random.random())]
            ended = forge.run("torture.power:run", [*given, *lasts], home, log)
        else:
            pid = forge.begin("torture.work:run", given, home, log)
            time.sleep(trials.random.uniform(0, pace[name]))
            _harm(kind, pid, trials)
            ended = forge.end()
        trials.count("kills", ended == -signal.SIGKILL)
        if ended not in (0, -signal.SIGKILL):
            trials.broke(f"{name} after {done}: exit code {ended}: {_end_of(log)}")
    began = time.monotonic()
    ended = forge.run("torture.work:run", given, home, log)
    pace[name] = 0.7 * pace[name] + 0.3 * max(1.0, time.monotonic() - began)
    if trials.expect(ended == 0, f"{name} after {done}: exit code {ended}: {_end_of(log)}"):
        _at_rest(trials, home, name, done)


def _harm(kind: str, pid: int, trials: Trials) -> None:
    if kind == "stop and continue":
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(trials.random.uniform(0.1, 1))
            os.kill(pid, signal.SIGCONT)
            time.sleep(trials.random.uniform(0, 2))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _served(trials: Trials, home: Path, name: str, pace: dict[str, float]) -> None:
    """As a user: `folio run`, which starts a Prefect server, MLflow's files and all."""
    declared, done = trials.homes.declared(name), []
    for _ in range(trials.random.randint(1, 2)):
        kind = trials.random.choice(SERVED)
        done.append(f"folio run, {kind}")
        process = trials.homes.started(home, "run", declared)
        time.sleep(trials.random.uniform(0, pace.setdefault("served", 60.0)))
        _harm_served(kind, process, home, trials)
        ended = _ended(process)
        trials.count("kills")
        one_line = ended.is_one_line or ended.code in (0, -signal.SIGKILL)
        trials.expect(one_line, f"{name} after {done}: {ended.code}: {ended.err[-500:]}")
    last = trials.homes.folio(home, "run", declared, seconds=LONGEST)
    pace["served"] = last.seconds
    if trials.expect(last.code == 0, f"{name} after {done}: {last.code}: {last.err[-500:]}"):
        _no_orphan(trials, home, f"{name} after {done}")
        _at_rest(trials, home, name, done)
    for left in processes_of(home):
        left.kill()


def _harm_served(kind: str, process: subprocess.Popen[str], home: Path, trials: Trials) -> None:
    with suppress(psutil.Error):
        family = [psutil.Process(process.pid)]
        family += family[0].children(recursive=True)
        servers = [one for one in processes_of(home) if "prefect_app" in " ".join(one.cmdline())]
        victims = {
            "process": family[:1],
            "tree": family,
            "server": servers,
            "all": processes_of(home),
            "stop and continue": [*family, *servers],
        }[kind]
        for one in victims:
            one.suspend() if kind == "stop and continue" else one.kill()
        if kind == "stop and continue":
            time.sleep(trials.random.uniform(1, 8))
            for one in victims:
                one.resume()


def _ended(process: subprocess.Popen[str]) -> Said:
    try:
        out, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        return Said(None, out, err, LONGEST)
    return Said(process.returncode, out, err, 0)


def _no_orphan(trials: Trials, home: Path, after: str) -> None:
    """The server of a run that was killed ends by itself, as soon as nobody has used it for a
    while; the one of the last run ends with it."""
    deadline = time.monotonic() + 90
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(1)
    trials.expect(not left, f"{after}: still running: {[one.pid for one in left]}")


def _at_rest(trials: Trials, home: Path, name: str, done: list[str]) -> None:
    """Equal in bytes to an undisturbed run, one version, nothing left over."""
    wanted = trials.homes.content[name]
    found = content_of(home, name)
    other = [stage for stage in wanted if found.get(stage) != wanted[stage]]
    trials.expect(not other, f"{name} after {done}: other bytes in {other}")
    versions = registered(home, name)
    trials.expect(versions == [1], f"{name} after {done}: versions {versions}")
    for left in unrest(home):
        trials.broke(f"{name} after {done}: {left}")
    trials.count("ends equal in bits", not other)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-500:] if log.exists() else ""


ROW = Row(
    "kills",
    "a run survives kill -9 anywhere, and a power failure",
    {"kills": 1000},
    tries,
    share=2.0,
)
