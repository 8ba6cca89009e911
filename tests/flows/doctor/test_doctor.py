"""`folio doctor` on real servers: what is missing, switched off, stuck or askew."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkPool
from prefect.settings import (
    PREFECT_API_REQUEST_TIMEOUT,
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    temporary_settings,
)
from prefect.states import Crashed, Running, Scheduled, State
from prefect.workers.process import ProcessWorker

from flows.doctor import servers
from flows.doctor.doctor import Depth, report
from flows.doctor.servers import skew_seconds
from flows.server.lifecycle import shared_server
from flows.server.server_process import Server, await_health
from flows.services import sweeping
from flows.services.installation import install, job_template, lets_commands_in
from pipelines.store.live_runs import dead_runs
from pipelines.store.settings import Settings
from pipelines.upkeep.own_catalog import add, remove
from tests.conftest import PLAY, declared
from tests.flows.cli.test_cli import Folio, api, environment, folio
from tests.pipelines.store.test_live_runs import hold
from tests.prefect_server import migrated
from tests.relay import Alter, relayed

pytestmark = pytest.mark.slow  # imports Prefect

__all__ = ["api", "environment", "folio"]


@dataclass
class Home:
    """A home in which both tiny pipelines have run, and a Prefect server of its own."""

    settings: Settings
    server: Server

    def told(self, *, fix: bool = False, through: str | None = None) -> dict[str, Any]:
        """What doctor says when PREFECT_API_URL names the server, or whatever leads to it."""
        with self.reached(through or self.server.url):
            return report(self.settings, Depth(), fix)

    def told_of_its_own(self) -> dict[str, Any]:
        """The same when nothing names a server, and that of the home runs."""
        with self.reached(self.server.url), pytest.MonkeyPatch.context() as patch:
            patch.delenv("PREFECT_API_URL")
            return report(self.settings, Depth(), False)

    @contextmanager
    def reached(self, url: str) -> Iterator[None]:
        """As in a process of its own: this one's Prefect is set to the session's server."""
        with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_API_URL: url}):
            patch.setenv("PREFECT_API_URL", url)
            yield

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        with self.reached(self.server.url), get_client(sync_client=True) as client:
            yield client

    def api(self, method: str, path: str, **body: Any) -> Any:
        answer = httpx.request(method, self.server.url + path, json=body or None, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def home(
    prefect_home: Path, trained: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Home]:
    folder = shutil.copytree(trained.home, tmp_path_factory.mktemp("doctor") / "home")
    migrated(prefect_home, folder)
    settings = Settings.at(folder)
    with shared_server(folder / "prefect") as server:
        await_health(server, folder / "prefect")
        made = Home(settings, server)
        for kind in ("deployments", "work_pools", "automations"):  # what other tests have left
            for one in made.api("POST", f"/{kind}/filter"):
                name = one["name"] if kind == "work_pools" else one["id"]
                made.api("DELETE", f"/{kind}/{name}")
        yield made


@pytest.fixture(scope="module")
def installed(home: Home) -> Home:
    """The same after `folio doctor --fix` on a server that has nothing of Folio."""
    before = home.told()
    assert bad(before)["pools"] == ["warning"] and "nothing of Folio is installed" in text(before)
    assert home.told(fix=True)["fixed"][0] == (
        "reinstalled work pools, deployments and automations"
    )
    return home


def bad(told: dict[str, Any]) -> dict[str, list[str]]:
    """{check: the states of its findings that are not ok}."""
    found: dict[str, list[str]] = {}
    for one in told["findings"]:
        if one["state"] != "ok":
            found.setdefault(one["check"], []).append(one["state"])
    return found


def text(told: dict[str, Any]) -> str:
    return "\n".join(
        f"{one['state']} {one['check']} {one['text']} → {one['remedy']}" for one in told["findings"]
    )


@pytest.mark.long
def test_what_it_installs_is_in_order_and_only_workers_are_wanted(installed: Home) -> None:
    told = installed.told()
    assert bad(told) == {"workers": ["problem", "warning"]}, text(told)
    assert told["problems"] == told["warnings"] == 1 and told["fixed"] == []
    assert {"server", "clock", "pools", "deployments", "automations"} <= {
        one["check"] for one in told["findings"] if one["state"] == "ok"
    }
    assert "prefect worker start --pool cpu" in text(told)
    for pool in ("cpu", "gpu"):
        installed.api("POST", f"/work_pools/{pool}/workers/heartbeat", name=f"{pool} of here")
    told = installed.told()
    assert bad(told) == {} and "pool gpu: gpu of here, last heartbeat at" in text(told)


@pytest.mark.long
def test_what_is_gone_or_switched_off_is_found_and_repaired(installed: Home) -> None:
    deployments = {
        one["entrypoint"].rpartition(".")[2] + "/" + one["name"]: one
        for one in installed.api("POST", "/deployments/filter")
    }
    words = deployments["retrain/words"]
    installed.api(
        "PATCH",
        "/work_pools/gpu",
        is_paused=True,
        concurrency_limit=3,
        base_job_template=ProcessWorker.get_default_base_job_template(),
    )
    installed.api("DELETE", f"/deployments/{deployments['stage/words-stage']['id']}")
    installed.api("PATCH", f"/deployments/{words['id']}", parameters={"pipeline": "hamlet"})
    installed.api(
        "POST",
        "/deployments/",
        name="hamlet",
        flow_id=words["flow_id"],
        entrypoint=words["entrypoint"],
        tags=["folio"],
    )
    silent, again, follower = (
        next(one for one in installed.api("POST", "/automations/filter") if part in one["name"])
        for part in ("silent", "tried again", "imdb follows imdb-lm")
    )
    installed.api("PATCH", f"/automations/{silent['id']}", enabled=False)
    for automation in (again, follower):
        installed.api("DELETE", f"/automations/{automation['id']}")
    said = text(installed.told())
    for part in (
        "problem pools work pool gpu is paused",
        "problem pools work pool gpu lets a run set the command",
        "stage/words-stage is missing",
        "retrain/words differs from prefect.yaml in: parameters",
        "retrain/hamlet is no longer declared",
        "“folio: a silent run has crashed” is disabled",
        "“folio: a crashed run is tried again” is missing",
        "“folio upstream: imdb follows imdb-lm” is missing: a new champion of imdb-lm does not",
    ):
        assert part in said, part
    told = installed.told(fix=True)
    assert len(told["fixed"]) == 1 and not {"pools", "deployments", "automations"} & set(bad(told))
    gpu = installed.api("GET", "/work_pools/gpu")
    assert gpu["base_job_template"] == job_template() and gpu["concurrency_limit"] == 3
    installed.api("PATCH", "/work_pools/gpu", concurrency_limit=1)


@pytest.mark.long
def test_what_cannot_be_deployed_is_not_called_fixable(
    installed: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule that Prefect would read otherwise: its pipeline's deployments were "missing", and
    no repair made them."""
    monkeypatch.setenv("FOLIO_HOME", str(installed.settings.home))
    file = declared(tmp_path, "letters", PLAY + "schedule: {{cron: '0 3 1,15,31 * *'}}\n")
    add(str(file), installed.settings)
    told = installed.told(fix=True)
    (finding,) = (
        one for one in told["findings"] if one["check"] == "deployments" and one["state"] != "ok"
    )
    assert not finding["fixable"] and "letters: schedule.cron" in finding["text"]
    declared(tmp_path, "letters", PLAY)
    assert "retrain/letters is missing" in text(installed.told())
    told = installed.told(fix=True)
    assert not any(one["fixable"] for one in told["findings"]), text(told)
    remove("letters")
    assert "retrain/letters is no longer declared" in text(installed.told())
    assert "deployments" not in bad(installed.told(fix=True))


@pytest.mark.long
def test_whatever_is_called_fixable_is_fixed(installed: Home) -> None:
    """Each kind of fault of a home, all at once; those of a server have their tests above."""
    settings = installed.settings
    home, store, runs = settings.home, settings.store.root, settings.runs.folder
    home.chmod(0o755)
    damaged = next((store / "tokens").glob("[!.]*/tokens/*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[1:])
    (runs / "cut-short.json").write_text("{")
    (home / "mlflow" / "journal.pending.json").write_text("{")
    key, old = "0" * 64, time.time() - 3 * 86_400
    (store / "model" / f".tmp-{key}").mkdir()
    os.utime(store / "model" / f".tmp-{key}", (old, old))
    killed = hold(runs, "20260102-000000-tiny-play-dead")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    (home / "dashboard" / "index.html").unlink(missing_ok=True)
    fixable = {one["check"] for one in installed.told()["findings"] if one["fixable"]}
    wanted = {"modes", "artifacts", "records", "journal", "leftovers", "runs", "dashboard"}
    assert wanted <= fixable
    told = installed.told(fix=True)
    assert len(told["fixed"]) >= len(wanted) and "NOT fixed" not in str(told["fixed"])
    assert not [one for one in told["findings"] if one["fixable"]], text(told)


@pytest.mark.long
def test_no_run_can_name_what_a_worker_executes(installed: Home) -> None:
    (words,) = (
        one["id"]
        for one in installed.api("POST", "/deployments/filter")
        if (one["name"], one["entrypoint"]) == ("words", "flows.retrain.retrain")
    )
    # As `folio up` makes it: with the command of Prefect's engine, which no run can change.
    installed.api("PATCH", "/work_pools/cpu", base_job_template=job_template(sys.executable))
    assert "lets a run set the command" not in text(installed.told())
    for given in (
        {"command": "touch owned"},
        {"env": {"PYTHONPATH": "/tmp"}},
        {"working_dir": "/tmp"},
    ):
        with pytest.raises(httpx.HTTPStatusError, match="422"):
            installed.api("POST", f"/deployments/{words}/create_flow_run", job_variables=given)
    other = job_template()
    other["job_configuration"]["command"] = "touch owned"
    installed.api("PATCH", "/work_pools/cpu", base_job_template=other)
    assert "work pool cpu lets a run set the command" in text(installed.told())
    installed.api("PATCH", "/work_pools/cpu", base_job_template=job_template())
    half = job_template()
    half["job_configuration"]["command"] = "{{ command }}"
    with pytest.raises(httpx.HTTPStatusError, match="422"):
        installed.api("PATCH", "/work_pools/cpu", base_job_template=half)


@pytest.mark.long
def test_a_wrong_value_is_refused_before_a_run_exists(installed: Home) -> None:
    (words,) = (
        one["id"]
        for one in installed.api("POST", "/deployments/filter")
        if (one["name"], one["entrypoint"]) == ("words", "flows.retrain.retrain")
    )
    begin = f"/deployments/{words}/create_flow_run"
    for given in ({"profile": "qick"}, {"profile": "quick+qick"}, {"only": "mix"}):
        with pytest.raises(httpx.HTTPStatusError, match="409"):
            installed.api("POST", begin, parameters=given)
    run = installed.api("POST", begin, parameters={"profile": "quick+full", "since": "tokens"})
    assert run["parameters"]["pipeline"] == "words" and {"folio", "words"} <= set(run["tags"])
    installed.api("DELETE", f"/flow_runs/{run['id']}")


@pytest.mark.long
def test_the_template_of_a_pool_of_another_type_is_the_users(installed: Home) -> None:
    own = {
        "job_configuration": {"command": "{{ command }}"},
        "variables": {"properties": {"command": {"type": "string"}}},
    }
    pool = installed.api("POST", "/work_pools/", name="box", type="docker", base_job_template=own)
    assert not lets_commands_in(WorkPool.model_validate(pool))
    installed.api("DELETE", "/work_pools/box")


@pytest.mark.long
def test_what_only_its_user_may_change_is_named(installed: Home) -> None:
    (words,) = (
        one
        for one in installed.api("POST", "/deployments/filter")
        if (one["name"], one["entrypoint"]) == ("words", "flows.retrain.retrain")
    )
    schedule = f"/deployments/{words['id']}/schedules/{words['schedules'][0]['id']}"
    (queue,) = (one for one in installed.api("POST", "/work_pools/cpu/queues/filter"))
    installed.api("PATCH", schedule, active=False)
    installed.api("PATCH", f"/work_queues/{queue['id']}", is_paused=True)
    said = text(installed.told())
    assert "warning deployments retrain/words or one of its schedules is paused" in said
    assert "prefect work-queue resume default --pool cpu" in said
    with installed.client() as client:
        install(client)
    (kept,) = installed.api("GET", f"/deployments/{words['id']}")["schedules"]
    assert kept["id"] == words["schedules"][0]["id"] and not kept["active"]
    installed.api("PATCH", schedule, active=True)
    installed.api("PATCH", f"/work_queues/{queue['id']}", is_paused=False)
    installed.api("PATCH", "/work_pools/cpu", concurrency_limit=0)
    assert "the concurrency limit of work pool cpu is 0" in text(installed.told())
    installed.api("PATCH", "/work_pools/cpu", concurrency_limit=None)


@pytest.mark.long
def test_a_run_whose_process_was_killed_is_ended(installed: Home) -> None:
    run = "20260101-000000-tiny-play-dead"
    killed = hold(installed.settings.runs.folder, run)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    flow_run = begun(installed, run)
    told = installed.told()
    assert bad(told)["runs"] == ["problem"] and f"run {run} was killed" in text(told)
    assert f"killed runs: {run}" in installed.told(fix=True)["fixed"][0]
    assert installed.api("GET", f"/flow_runs/{flow_run}")["state_type"] == "CRASHED"
    assert dead_runs(installed.settings.runs.folder) == []
    assert "runs" not in bad(installed.told())


def begun(home: Home, name: str) -> str:
    """The id of a flow run of that name that is Running in Prefect's eyes."""
    return flow_run(home, name, "flows.train.train", Running(), {"order": ORDER})


def flow_run(
    home: Home, name: str, entrypoint: str, state: State, parameters: dict[str, Any]
) -> str:
    deployment = next(
        one["id"]
        for one in home.api("POST", "/deployments/filter")
        if one["entrypoint"] == entrypoint
    )
    with home.client() as client:
        run = client.create_flow_run_from_deployment(
            deployment, name=name, state=Scheduled(), parameters=parameters
        )
        client.set_flow_run_state(run.id, state, force=True)
    return str(run.id)


ORDER = {"pipeline": "words", "profile": "full", "run": "any", "batches": "0" * 64, "recipe": {}}


@pytest.mark.long
def test_runs_that_could_not_tell_their_end_are_told_by_their_records(
    installed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = {"done": "Completed", "failed": "Failed", "nothing-to-do": "Nothing to do"}
    record, flow_runs = next(iter(installed.settings.runs)), {}
    for state in shown:
        run = f"20260101-000000-tiny-play-{state}"
        installed.settings.runs.save(record | {"run": run, "state": state, "error": "no luck"})
        flow_runs[state] = begun(installed, run)
    assert "runs" not in bad(installed.told())  # they may be about to tell
    monkeypatch.setattr(sweeping, "UNTOLD_AT_MOST", timedelta(0))
    told = installed.told(fix=True)
    assert len(told["fixed"]) == 2 and "runs" not in bad(told)
    assert {
        state: installed.api("GET", f"/flow_runs/{run}")["state_name"]
        for state, run in flow_runs.items()
    } == shown


@pytest.mark.long
def test_crashed_runs_that_the_server_has_forgotten_are_continued(
    installed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"done": "Completed", "failed": "AwaitingRetry", "unrecorded": "AwaitingRetry"}
    record, flow_runs = next(iter(installed.settings.runs)), {}
    for state in wanted:
        run = f"20260102-000000-tiny-play-{state}"
        if state != "unrecorded":
            installed.settings.runs.save(record | {"run": run, "state": state, "error": "killed"})
        crashed = Crashed(message="no heartbeat")
        flow_runs[state] = flow_run(installed, run, "flows.retrain.retrain", crashed, {})
    assert "runs" not in bad(installed.told())  # the server may be about to try them again
    monkeypatch.setattr(sweeping, "AGAIN_WITHIN", timedelta(0))
    installed.told(fix=True)
    found = {
        state: installed.api("GET", f"/flow_runs/{run}")["state_name"]
        for state, run in flow_runs.items()
    }
    for run in flow_runs.values():
        installed.api("DELETE", f"/flow_runs/{run}")
    assert found == wanted


@pytest.mark.long
def test_runs_that_are_overdue_are_counted(installed: Home) -> None:
    (deployment,) = (
        one["id"]
        for one in installed.api("POST", "/deployments/filter")
        if (one["name"], one["entrypoint"]) == ("words", "flows.retrain.retrain")
    )
    due = datetime.now(UTC) - timedelta(minutes=10)
    with installed.client() as client:
        runs = [
            client.create_flow_run_from_deployment(deployment, state=Scheduled(scheduled_time=due))
            for _ in range(2)
        ]
    told = installed.told()
    assert bad(told)["runs"] == ["warning"]
    assert f"2 of words due since {due:%Y-%m-%d %H:%M} UTC" in text(told)
    for run in runs:
        installed.api("DELETE", f"/flow_runs/{run.id}")


def dated(seconds: float) -> Alter:
    """Answers as of a server whose clock is that much ahead."""

    def later(date: re.Match[bytes]) -> bytes:
        when = parsedate_to_datetime(date[1].decode()) + timedelta(seconds=seconds)
        return b"date: " + format_datetime(when, usegmt=True).encode()

    return lambda data: re.sub(rb"date: ([^\r]+)", later, data)


@pytest.mark.long
@pytest.mark.parametrize(
    ("alter", "state", "part"),
    [
        (dated(60), "problem", r"clock the server's clock is (5\d|60) s ahead of this machine's"),
        (dated(-3600), "problem", r"clock the server's clock is 3\d{3} s behind this machine's"),
        (dated(1), "ok", r"clock the clocks of the server and this machine agree"),
        (
            lambda data: data.replace(b'"3.8.8"', b'"3.7.0"'),
            "warning",
            r"server http://127.0.0.1:\d+/api runs Prefect 3.7.0, this machine 3.8",
        ),
    ],
)
def test_another_clock_or_version_of_the_server_is_told(
    installed: Home, alter: Alter, state: str, part: str
) -> None:
    address = urlsplit(installed.server.url)
    with relayed((address.hostname, address.port), alter) as relay:
        said = text(installed.told(through=f"http://127.0.0.1:{relay.port}/api"))
    assert re.search(f"{state} {part}", said), said


def test_a_clock_may_be_a_second_old_and_its_answer_take_its_time() -> None:
    assert skew_seconds(100, 100.9, 101.2) == skew_seconds(100, 99.1, 103) == 0
    assert skew_seconds(110, 100.5, 101) == 9 and skew_seconds(90, 100, 101) == -8


@pytest.mark.long
def test_a_server_that_hangs_is_named(home: Home) -> None:
    os.killpg(home.server.pid, signal.SIGSTOP)
    try:
        told = home.told_of_its_own()
    finally:
        os.killpg(home.server.pid, signal.SIGCONT)
    assert bad(told)["server"] == ["problem"]
    assert f"does not answer at {home.server.url}" in text(told)


@pytest.mark.long
def test_a_server_that_begins_to_hang_while_it_is_asked_is_named(
    installed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "LOOK", {})
    address = urlsplit(installed.server.url)

    def pause(data: bytes) -> bytes:
        if "👋".encode() in data:  # what it says to hello, from which its clock is read
            time.sleep(3)
        return data

    with (
        relayed((address.hostname, address.port), pause) as relay,
        temporary_settings({PREFECT_API_REQUEST_TIMEOUT: 1, PREFECT_CLIENT_MAX_RETRIES: 0}),
    ):
        told = installed.told(through=f"http://127.0.0.1:{relay.port}/api")
    assert bad(told)["server"] == ["problem"] and "deployments" not in bad(told)
    assert "does not answer in time → try again" in text(told)


@pytest.mark.long
def test_the_server_of_a_run_need_not_have_anything_installed(home: Home) -> None:
    told = home.told_of_its_own()
    assert not {"pools", "workers", "deployments"} & set(bad(told))
    assert "schedules need folio up" in text(told)


def test_the_command_fails_while_a_problem_stays(
    folio: Folio, environment: dict[str, str], tmp_path: Path
) -> None:
    environment["PREFECT_API_URL"] = "http://127.0.0.1:1/api"
    done = folio("doctor", "--json")
    told = json.loads(done.stdout)
    assert done.returncode == told["problems"] == 1 and done.stderr == ""
    (finding,) = (one for one in told["findings"] if one["state"] != "ok")
    assert set(finding) == {"check", "state", "text", "remedy", "fixable"}
    assert "PREFECT_API_URL=http://127.0.0.1:1/api: does not answer" in finding["text"]
    assert "unset PREFECT_API_URL" in finding["remedy"]

    del environment["PREFECT_API_URL"]
    done = folio("doctor", "--fix")
    assert done.returncode == 0 and "no Prefect server is running here" in done.stdout
    assert done.stdout.splitlines()[-1] == "problems: 0, warnings: 0"
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_artifact_is_set_aside_by_the_command(
    folio: Folio, environment: dict[str, str], trained: Settings, tmp_path: Path
) -> None:
    home = shutil.copytree(trained.home, tmp_path / "home")
    del environment["PREFECT_API_URL"]
    damaged = next((home / "store" / "tokens").glob("[!.]*/tokens/*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    assert folio("doctor").returncode == 0
    done = folio("doctor", "--digests")
    assert done.returncode == 1 and f"{damaged.name} is not what was published" in done.stdout
    done = folio("doctor", "--digests", "--fix")
    assert done.returncode == 0 and "fixed: moved the damaged tokens artifact" in done.stdout
    assert not damaged.exists() and "set aside in" in done.stdout
    assert (home / "dashboard" / "index.html").is_file()
