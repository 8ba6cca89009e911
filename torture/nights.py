"""Nights of schedules, two minutes each: `folio up` starts every pipeline each time while workers,
runs and servers are killed and texts change. Each start must end well, once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from flows.server.server_process import free_port
from pipelines.files.small_files import read_object
from pipelines.files.whole_files import write_whole
from pipelines.registry.versions import versions
from pipelines.store.run_records import Runs
from torture.homes import PIPELINES, content_of, processes_of, unrest
from torture.trials import Row, Trials

NIGHT = timedelta(minutes=2)  # in one, two cores and Prefect's SQLite fall behind
SCHEDULE = "schedule: {cron: '*/2 * * * *'}\n"
QUIET = 240  # seconds at the end, without kills
PATIENCE = (
    900  # seconds for runs to end; one whose worker died before it began waits for five minutes
)
ANSWERS = 300  # seconds in which Prefect answers, killed or locked as it may be
PAGE = 200  # flow runs that Prefect tells at once
TEXTS = {
    "play": ("play.txt", "\nMARIAN:\nThat was night {}.\n"),
    "reviews": ("reviews.csv", '"Night {} at the cinema was a joy.",positive,Night {}\n'),
}
VICTIMS = {  # {what: what its command line has}
    "a worker": "worker start",
    "a run": "prefect.engine",
    "the Prefect server": "prefect_app",
    "MLflow": "mlflow server",
    "folio up": "flows.cli up",
    "everything": "",
}
OFTEN = (4, 4, 1, 1, 1, 1)  # how often each is chosen


@dataclass
class Nights:
    """A home with its `folio up`. `changed` counts the changes of each pipeline's text."""

    trials: Trials
    home: Path
    declared: dict[str, Path]
    ports: list[str]
    changed: Counter[str] = field(default_factory=Counter)

    def up(self) -> bool:
        said = self.trials.homes.folio(
            self.home, "up", "--detach", "--no-password", *self.ports, seconds=300
        )
        return self.trials.expect(said.code == 0, f"folio up: {said.code}: {said.err[-500:]}")

    def asked(self, method: str, path: str, body: Any = None) -> Any:
        """The answer of Prefect, which may have been killed a moment ago."""
        state = read_object(self.home / "up" / "up.json", addresses=dict)
        deadline = time.monotonic() + ANSWERS
        while True:
            with suppress(httpx.TransportError):
                answer = httpx.request(
                    method, f"{state['addresses']['prefect']}/api{path}", json=body, timeout=60
                )
                if answer.status_code < 500:
                    return answer.raise_for_status().json() if answer.content else None
            if time.monotonic() > deadline:
                raise RuntimeError(f"Prefect does not answer: {method} {path}")
            time.sleep(0.5)

    def pause(self, *, others: bool) -> None:
        """The schedules of our pipelines, or those of all others."""
        for one in self.asked("POST", "/deployments/filter", {}):
            if (one["name"] in PIPELINES) != others:
                for schedule in one["schedules"]:
                    path = f"/deployments/{one['id']}/schedules/{schedule['id']}"
                    self.asked("PATCH", path, {"active": False})

    def started(self) -> list[dict[str, Any]]:
        """All flow runs that a schedule has started, with "pipeline"."""
        found: list[dict[str, Any]] = []
        wanted = {
            "sort": "EXPECTED_START_TIME_ASC",
            "flow_runs": {
                "tags": {"all_": ["auto-scheduled"]},
                "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
            },
            "deployments": {"name": {"any_": list(PIPELINES)}},
        }
        while page := self.asked(
            "POST", "/flow_runs/filter", wanted | {"offset": len(found), "limit": PAGE}
        ):
            found += page
        return [one | {"pipeline": one["parameters"]["pipeline"]} for one in found]

    def kill(self) -> None:
        """One of VICTIMS, with `kill -9`."""
        (what,) = self.trials.random.choices(list(VICTIMS), OFTEN)
        servers = [one for one in processes_of(self.home) if "prefect.engine" not in _command(one)]
        found = [one for one in processes_of(self.home) if VICTIMS[what] in _command(one)]
        victims = [self.trials.random.choice(found)] if VICTIMS[what] and found else found
        for one in victims:
            with suppress(psutil.Error):
                one.kill()
        self.trials.count("kills", bool(victims))
        if what in ("folio up", "everything"):  # the former's processes end by themselves
            psutil.wait_procs(servers, 30)
            self.up()

    def change(self) -> None:
        """The next run has work to do. A run that has read the old text is let alone."""
        if all(_is_final(one) for one in self.started() if one["start_time"]):
            name = self.trials.random.choice(list(PIPELINES))
            self.changed[name] += 1
            file, line = TEXTS[name]
            path = self.declared[name].parent / "texts" / file
            line = line.replace("{}", str(self.changed[name]))
            write_whole(path, path.read_text(encoding="utf-8") + line)

    def settled(self) -> list[dict[str, Any]]:
        """The flow runs, once all have ended or PATIENCE has."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self.started()
            if all(_is_final(one) for one in found) or time.monotonic() > deadline:
                return found
            time.sleep(2)


def tries(trials: Trials) -> None:
    nights = _prepared(trials)
    quiet = min(QUIET, trials.seconds / 2)
    with _up(nights):
        while trials.left() > 0:
            time.sleep(min(max(trials.left(), 0), trials.random.uniform(8, 30)))
            if trials.left() > quiet:  # the last runs read the last texts
                nights.kill()
                nights.change()
        nights.pause(others=False)
        runs = nights.settled()
    trials.count("scheduled runs", len(runs))
    for name in PIPELINES:
        none_is_missing(trials, name, [one for one in runs if one["pipeline"] == name])
    _all_ended_well(nights, runs)
    _at_rest(nights)


def _prepared(trials: Trials) -> Nights:
    home, declared = trials.homes.new(trials.folder / "home"), {}
    for name in PIPELINES:
        usual = trials.homes.declared(name)
        declared[name] = trials.folder / "declared" / usual.name
        for file in (usual, *(usual.parent / "texts").iterdir()):
            path = trials.folder / "declared" / file.relative_to(usual.parent)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read_bytes())
        declared[name].write_text(PIPELINES[name] + SCHEDULE, encoding="utf-8")
        said = trials.homes.folio(home, "add", declared[name])
        trials.expect(said.code == 0, f"folio add {name}: {said.err[-500:]}")
    ports = [f"--{name}-port={free_port()}" for name in ("prefect", "mlflow", "dashboard")]
    return Nights(trials, home, declared, ports)


@contextmanager
def _up(nights: Nights) -> Iterator[None]:
    trials = nights.trials
    try:
        if nights.up():
            nights.pause(others=True)
        else:
            trials.seconds = 0
        yield
        said = trials.homes.folio(nights.home, "down", seconds=120)
        trials.expect(said.code == 0, f"folio down: {said.code}: {said.err[-500:]}")
        _, left = psutil.wait_procs(processes_of(nights.home), 15)
        trials.expect(not left, f"after folio down: {[_command(one)[:80] for one in left]}")
    finally:
        for one in processes_of(nights.home):
            with suppress(psutil.Error):
                one.kill()


def none_is_missing(trials: Trials, name: str, runs: list[dict[str, Any]]) -> None:
    """A flow run a night, from the first to the last."""
    times = sorted(datetime.fromisoformat(one["expected_start_time"]) for one in runs)
    if not trials.expect(times, f"{name}: its schedule has started nothing"):
        return
    wanted = {times[0] + number * NIGHT for number in range((times[-1] - times[0]) // NIGHT + 1)}
    trials.expect(set(times) == wanted, f"{name}: not started: {sorted(wanted - set(times))}")
    trials.expect(len(times) == len(set(times)), f"{name}: two starts in a night: {times}")
    late = datetime.now(UTC) - times[-1]
    trials.expect(late < 2 * NIGHT + timedelta(seconds=PATIENCE), f"{name}: no start for {late}")


def _all_ended_well(nights: Nights, runs: list[dict[str, Any]]) -> None:
    """None is stuck, each has its record, and what was made was made by one of them."""
    trials, records = nights.trials, Runs(nights.home / "runs")
    made = Counter[str]()
    for one in runs:
        name, state = one["name"], one["state"] or {}
        what = f"{one['pipeline']}, {one['expected_start_time']}, {name}"
        ended = f"{state.get('name')}: {state.get('message')}"
        trials.expect(state.get("type") == "COMPLETED", f"{what} is {ended}")
        if trials.expect(records.has(name), f"{what} has no record"):
            stages = records.get(name)["stages"]
            made.update(part["key"] for part in stages if part["action"] == "run")
    twice = [key[:8] for key, number in made.items() if number > 1]
    trials.expect(not twice, f"made more than once: {twice}")
    count = sum(1 for _ in records)
    trials.expect(count == len(runs), f"{len(runs)} starts, but {count} records")


def _at_rest(nights: Nights) -> None:
    """The registry has what the last texts give, nothing twice, and nothing is left over."""
    trials, home = nights.trials, nights.home
    for left in unrest(home):
        trials.broke(left)
    for name, declared in nights.declared.items():
        most, found = nights.changed[name] + 1, len(versions(home, name))
        trials.expect(1 <= found <= most, f"{name}: {found} versions of {most} texts")
        other, log = trials.homes.new(trials.folder / "other"), trials.folder / "log"
        ended = trials.homes.forge.run("torture.work:run", [str(other), str(declared)], other, log)
        trials.expect(ended == 0, f"{name} in a new home ends with {ended}")
        wanted, kept = content_of(other, name), digests(home)
        missing = [stage for stage in wanted if wanted[stage] not in kept]
        trials.expect(not missing, f"{name}: other bytes in {missing}")
    said = trials.homes.folio(home, "verify")
    trials.expect(said.code == 0, f"folio verify: {said.out[-500:]} {said.err[-500:]}")


def digests(home: Path) -> set[str]:
    """Of all artifacts in the store."""
    found = (home / "store").glob("*/[0-9a-f]*/manifest.json")
    return {read_object(path, digest=str)["digest"] for path in found}


def _is_final(run: dict[str, Any]) -> bool:
    return run["state_type"] in ("COMPLETED", "FAILED", "CANCELLED")  # a crashed run is tried again


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


ROW = Row(
    "nights",
    "nights of schedules, two minutes each: none stuck, none double, none lost",
    {"scheduled runs": 48, "kills": 24},
    tries,
    share=2.0,
)
