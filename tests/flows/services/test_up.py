"""`folio up` for real: servers, workers, schedules, and what becomes of them when they are killed.

All tests share one, which runs `retrain/shakespeare` with tiny settings on the sample text.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows.server.server_process import free_port
from flows.services.up_state import state_of
from pipelines.run.retraining import retrain_plain
from pipelines.store.live_runs import live_runs
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings
from tests.conftest import PLAY, PROJECT, artifact_of, declared
from tests.tasks.test_events import awaited

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

FOLIO = str(Path(sys.executable).with_name("folio"))
SMALL = [
    "model.units=[24]",
    "model.embedding=8",
    "training.epochs=3",
    "model.dropout=0.1",
    "training.checkpoint_every=0.1",
    "evaluation.sample_length=20",
    "evaluation.baseline_order=3",
]
SHAKESPEARE = {
    "pipeline": "shakespeare",
    "profile": "quick",
    "overrides": SMALL,
    "allow_sample": True,
    "offline": True,
}
FINAL = {"COMPLETED", "FAILED", "CANCELLED"}
PATIENCE = 200  # seconds
ASKED_EVERY = 0.5  # seconds between questions to a server that is to have time for its work


@dataclass
class Up:
    """A `folio up` in a home of its own, and its Prefect server's API."""

    home: Path
    ports: tuple[int, int, int] = field(
        default_factory=lambda: (free_port(), free_port(), free_port())
    )
    process: subprocess.Popen[str] | None = None
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def start(self) -> None:
        self.process = self.folio(*self.arguments())
        wait_for(self.is_ready_or_gone)
        assert self.process.poll() is None, self.process.communicate()

    def is_ready_or_gone(self) -> bool:
        state = state_of(self.home)
        return bool(state and state["ready"]) or self.process.poll() is not None

    def arguments(self) -> list[str]:
        prefect, mlflow, dashboard = map(str, self.ports)
        return [
            "up",
            "--password",
            "--prefect-port",
            prefect,
            "--mlflow-port",
            mlflow,
            "--dashboard-port",
            dashboard,
        ]

    @property
    def auth(self) -> tuple[str, str]:
        user, _, secret = (self.home / "up" / "password").read_text().strip().partition(":")
        return user, secret

    def folio(self, *arguments: str) -> subprocess.Popen[str]:
        own = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT", "MLFLOW", "FOLIO"))
        }
        return subprocess.Popen(
            [FOLIO, *arguments],
            env=own | {"FOLIO_HOME": str(self.home)},
            text=True,
            cwd=PROJECT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def said(self, *arguments: str) -> tuple[int, str, str]:
        process = self.folio(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def api(self, method: str, path: str, *items: Any, **body: Any) -> httpx.Response:
        """The server's answer to an object or to a list; while its SQLite is busy it asks to come
        again, as here."""

        def asked() -> httpx.Response:
            return self.client.request(
                method,
                f"http://127.0.0.1:{self.ports[0]}/api{path}",
                json=list(items) or body or None,
                auth=self.auth,
            )

        while (answer := asked()).status_code == 503:
            time.sleep(0.5)
        return answer

    def deployment(self, name: str) -> str:
        return self.api("GET", f"/deployments/name/{name}").json()["id"]

    def begin(self, deployment: str, **parameters: Any) -> str:
        """The id of a new flow run."""
        made = self.api(
            "POST",
            f"/deployments/{self.deployment(deployment)}/create_flow_run",
            parameters=parameters,
            state={"type": "SCHEDULED"},
        )
        assert made.status_code == 201, made.text
        return made.json()["id"]

    def flow_run(self, run: str) -> dict[str, Any]:
        return self.api("GET", f"/flow_runs/{run}").json()

    def ended(self, run: str) -> dict[str, Any]:
        """The flow run when it is over for good."""
        wait_for(lambda: self.flow_run(run)["state_type"] in FINAL, pause=ASKED_EVERY)
        return self.flow_run(run)

    def record(self, run: str) -> dict[str, Any]:
        return Runs(self.home / "runs").get(self.flow_run(run)["name"])

    def processes(self) -> list[psutil.Process]:
        """All that were started for this home, by whomever, but those that are merely unburied."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("FOLIO_HOME") == str(self.home):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def wait_for(condition: Callable[[], Any], seconds: float = PATIENCE, pause: float = 0.1) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(pause)
    return found


def is_training(up: Up) -> int | None:
    """The process that trains, once it has a checkpoint to go on from."""
    checkpoints = list((up.home / "store" / "model").glob(".work-*/*.npz"))
    return next(
        (run["pid"] for run in live_runs(up.home / "runs") if "part_of" in run and checkpoints),
        None,
    )


@pytest.fixture(scope="module")
def up(prefect_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("up"))
    running.start()
    yield running
    assert running.process is not None
    running.process.send_signal(signal.SIGINT)
    _, said = running.process.communicate(timeout=60)
    assert running.process.returncode == 0, said
    assert running.processes() == []


@pytest.fixture(scope="module")
def registered(up: Up) -> dict[str, Any]:
    """The record of a run that has registered a model: the first test may not be of this share."""
    assert up.ended(up.begin("retrain/shakespeare", **SHAKESPEARE))["state_type"] == "COMPLETED"
    return next(record for record in Runs(up.home / "runs") if record["version"])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home in which the same pipeline has run in one go, here."""
    settings = Settings.at(tmp_path_factory.mktemp("undisturbed"), offline=True, allow_sample=True)
    retrain_plain("shakespeare", "quick", tuple(SMALL), settings=settings, notice=lambda text: None)
    return settings


def test_a_training_killed_in_the_gpu_pool_ends_with_the_same_weights(
    up: Up, undisturbed: Settings
) -> None:
    run = up.begin("retrain/shakespeare", **SHAKESPEARE)
    trainer = wait_for(lambda: is_training(up))
    assert "gpu" in " ".join(psutil.Process(trainer).parent().cmdline())
    os.kill(trainer, signal.SIGKILL)
    assert up.ended(run)["state_type"] == "COMPLETED"
    tries = up.api(
        "POST",
        "/flow_runs/filter",
        flow_runs={"name": {"like_": f"{up.flow_run(run)['name']}-model-"}},
    ).json()
    assert sorted(one["state_type"] for one in tries) == ["COMPLETED", "CRASHED"]
    here = Settings.at(up.home)
    assert (
        artifact_of(here, "shakespeare", "model").digest
        == artifact_of(undisturbed, "shakespeare", "model").digest
    )
    assert up.record(run)["version"] == 1
    logs = up.api("POST", "/logs/filter", logs={"flow_run_id": {"any_": [run]}}).json()
    said = "\n".join(one["message"] for one in logs)
    assert all(f"epoch {number}/3: loss" in said for number in (1, 2, 3))
    shown = up.api("POST", "/artifacts/filter", artifacts={"flow_run_id": {"any_": [run]}}).json()
    (progress,) = (one for one in shown if one["type"] == "progress")
    assert progress["data"] == 100 and "steps (100%)" in progress["description"]
    (gpu,) = (one for one in up.api("POST", "/work_pools/filter").json() if one["name"] == "gpu")
    assert gpu["base_job_template"]["job_configuration"]["command"].endswith("-m prefect.engine")


def test_one_stage_is_repeated_through_its_deployment(up: Up, registered: dict[str, Any]) -> None:
    run = up.ended(
        up.begin(
            "stage/shakespeare-stage",
            pipeline="shakespeare",
            stage="metrics",
            using=registered["run"],
        )
    )
    assert run["state_type"] == "COMPLETED"
    record = up.record(run["id"])
    assert [(entry["stage"], entry["action"]) for entry in record["stages"]][-2:] == [
        ("metrics", "run"),
        ("report", "run"),
    ]
    assert record["profile"] == "quick" and record["metrics"] == registered["metrics"]


@contextmanager
def every_minute(up: Up, parameters: dict[str, Any]) -> Iterator[None]:
    """A schedule of `retrain/shakespeare` while inside."""
    deployment = up.deployment("retrain/shakespeare")
    when = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
    answer = up.api(
        "POST", f"/deployments/{deployment}/schedules", when | {"parameters": parameters}
    )
    assert answer.status_code == 201, answer.text
    yield
    up.api("DELETE", f"/deployments/{deployment}/schedules/{answer.json()[0]['id']}")


def fired(up: Up, state: str) -> dict[str, Any] | None:
    """A run of a schedule in the state with that name."""
    tags, states = {"all_": ["auto-scheduled"]}, {"name": {"any_": [state]}}
    found = up.api("POST", "/flow_runs/filter", flow_runs={"tags": tags, "state": states}).json()
    return found[0] if found else None


@pytest.mark.usefixtures("registered")
def test_a_schedule_fires_by_itself_and_finds_nothing_to_do(up: Up) -> None:
    with every_minute(up, SHAKESPEARE):
        run = wait_for(lambda: fired(up, "Nothing to do"), pause=ASKED_EVERY)
        assert run["state_type"] == "COMPLETED" and run["auto_scheduled"]
        assert up.record(run["id"])["state"] == "nothing-to-do"


def test_a_scheduled_run_that_is_killed_goes_on_within_minutes(up: Up) -> None:
    """Prefect has seen no event of its first state, and would hold all that follow back."""
    with every_minute(up, SHAKESPEARE | {"overrides": [*SMALL, "seed=5"], "train_in": "here"}):
        run = wait_for(lambda: fired(up, "Running"), pause=ASKED_EVERY)
        pid = wait_for(lambda: is_live(up, run["id"]))
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: up.flow_run(run["id"])["state_type"] == "CRASHED", pause=ASKED_EVERY)
    ended = up.ended(run["id"])
    assert (ended["state_type"], ended["run_count"]) == ("COMPLETED", 2)


def is_live(up: Up, run: str) -> int | None:
    """The process of a run that has its name."""
    name = up.flow_run(run)["name"]
    return next((one["pid"] for one in live_runs(up.home / "runs") if one["run"] == name), None)


@pytest.mark.parametrize(
    ("parameters", "part"),
    [
        ({"profile": "no such thing!"}, "profile"),
        ({"train_in": "cellar"}, "train_in"),
        ({"only": "tokenz"}, "only"),
        ({"overrides": ["epochs"]}, "overrides"),
    ],
)
def test_nonsense_is_refused_before_a_run_exists(
    up: Up, parameters: dict[str, Any], part: str
) -> None:
    answer = up.api(
        "POST",
        f"/deployments/{up.deployment('retrain/shakespeare')}/create_flow_run",
        parameters={"pipeline": "shakespeare"} | parameters,
    )
    assert answer.status_code == 409 and part in answer.text


def test_a_pipeline_that_is_no_more_fails_with_one_line(up: Up) -> None:
    run = up.ended(up.begin("retrain/shakespeare", pipeline="hamlet", profile="full"))
    assert run["state_type"] == "FAILED"
    assert "hamlet" in run["state"]["message"] and "shakespeare" in run["state"]["message"]


def test_scoring_without_a_champion_fails_with_one_line(up: Up) -> None:
    state = up.ended(up.begin("score/imdb-score"))["state"]
    assert state["type"] == "FAILED"
    assert state["message"].startswith("imdb: no model is registered; train one with: folio run")


def test_two_runs_at_a_time_do_the_work_once(up: Up) -> None:
    seeded = SHAKESPEARE | {"overrides": [*SMALL, "seed=2"], "until": "batches"}
    runs = [up.begin("retrain/shakespeare", **seeded) for _ in range(2)]
    assert {up.ended(run)["state_type"] for run in runs} == {"COMPLETED"}
    done = [
        entry["action"]
        for run in runs
        for entry in up.record(run)["stages"]
        if entry["stage"] in ("corpus", "batches")
    ]
    assert sorted(done) == ["reuse", "reuse", "run", "run"]


def test_a_second_one_tells_where_the_first_is(up: Up) -> None:
    code, out, err = up.said(*up.arguments())
    assert code == 0 and "already running" in err
    assert f"http://127.0.0.1:{up.ports[0]}" in out
    code, out, _ = up.said("status", "--json")
    assert code == 0 and '"up": true' in out and '"online"' in out


def test_a_pipeline_of_ones_own_is_deployed_as_long_as_it_is_in_the_catalog(
    up: Up, tmp_path: Path
) -> None:
    file = declared(tmp_path, "mine", PLAY + "schedule: {{cron: '0 3 * * *'}}\n")
    code, said, complained = up.said("add", str(file))
    assert code == 0 and "0 3 * * * UTC, profile full: deployed" in said, complained
    [schedule] = up.api("GET", "/deployments/name/retrain/mine").json()["schedules"]
    assert schedule["schedule"]["cron"] == "0 3 * * *"
    assert json.loads(up.said("status", "--json")[1])["undeployed"] == {}
    declared(tmp_path, "mine", PLAY + "schedule: {{cron: '0 4 * * *'}}\n")
    assert "not deployed: retrain/mine differs" in up.said("status")[1]
    code, _, complained = up.said(*up.arguments())
    assert code == 0 and "deployed: retrain/mine" in complained
    [schedule] = up.api("GET", "/deployments/name/retrain/mine").json()["schedules"]
    assert schedule["schedule"]["cron"] == "0 4 * * *"
    run = up.ended(up.begin("retrain/mine", pipeline="mine", until="source"))
    assert run["state_type"] == "COMPLETED"
    assert up.record(run["id"])["declared"] == str(file)
    assert up.said("remove", "mine")[0] == 0
    assert up.api("GET", "/deployments/name/retrain/mine").status_code == 404


def test_without_a_worker_for_trainings(tmp_path: Path) -> None:
    """For programs: one document, and the servers stay until they are stopped."""
    home = tmp_path / "home"
    home.mkdir()
    bare = Up(home)
    code, said, complained = bare.said(*bare.arguments(), "--no-gpu", "--detach", "--json")
    assert code == 0, complained
    assert json.loads(said)["prefect"] == f"http://127.0.0.1:{bare.ports[0]}"
    status = json.loads(bare.said("status", "--json")[1])
    assert [one["pool"] for one in status["workers"] if one["status"] == "online"] == ["cpu"]
    pid = (state_of(home) or {})["pid"]
    code, said, complained = bare.said("down", "--json")
    assert (code, json.loads(said)) == (0, {"stopped": pid}), complained
    assert awaited(lambda: not bare.processes())


def test_a_port_that_is_taken_is_named(up: Up, tmp_path: Path) -> None:
    other = Up(tmp_path / "other", up.ports)
    code, _, err = other.said(*other.arguments())
    assert code == 2
    assert f"port {up.ports[0]} of 127.0.0.1 is not available" in err and "--prefect-port" in err


def test_its_pages_are_there_and_nothing_else_of_the_home_is(up: Up) -> None:
    pages = f"http://127.0.0.1:{up.ports[2]}"
    home = httpx.get(pages, follow_redirects=True, auth=up.auth)
    assert home.status_code == 200 and f"http://127.0.0.1:{up.ports[0]}" in home.text
    for path in ("/runs/", "/prefect/prefect.db", "/dashboard/%2e%2e/up/up.json", "/store/"):
        assert httpx.get(pages + path, auth=up.auth).status_code == 404, path
    assert httpx.get(pages, headers={"Host": "example.org"}).status_code == 403
    assert httpx.get(f"http://127.0.0.1:{up.ports[0]}/").status_code == 200
    assert httpx.get(f"http://127.0.0.1:{up.ports[1]}/", auth=up.auth).status_code == 200


def test_nobody_gets_in_without_the_password(up: Up) -> None:
    api, models, pages = (f"http://127.0.0.1:{port}" for port in up.ports)
    api += "/api"
    for auth in (None, ("folio", "wrong")):
        assert httpx.post(f"{api}/deployments/filter", auth=auth).status_code == 401
        assert httpx.get(f"{pages}/dashboard/index.html", auth=auth).status_code == 401
        assert (
            httpx.get(
                f"{models}/ajax-api/2.0/mlflow/registered-models/search", auth=auth
            ).status_code
            == 401
        )
    settings = httpx.get(f"http://127.0.0.1:{up.ports[0]}/ui-settings").json()
    assert settings["auth"] == "BASIC"  # the pages of Prefect ask for it


def test_no_secret_stands_on_a_command_line_and_temporary_files_are_private(up: Up) -> None:
    lines = [
        " ".join(process.cmdline())
        for process in psutil.process_iter()
        if process.status() != psutil.STATUS_ZOMBIE
    ]
    assert sum(str(up.ports[1]) in line for line in lines) >= 2  # folio up, MLflow
    assert not [line for line in lines if up.auth[1] in line or "sqlite://" in line]
    temporary = up.home / "up" / "tmp"
    assert temporary.stat().st_mode & 0o077 == 0 and (temporary / "runner_storage").is_dir()


def test_a_command_in_the_job_variables_is_refused(up: Up, tmp_path: Path) -> None:
    answer = up.api(
        "POST",
        f"/deployments/{up.deployment('score/imdb-score')}/create_flow_run",
        state={"type": "SCHEDULED"},
        job_variables={"command": f"touch {tmp_path / 'owned'}"},
    )
    assert answer.status_code == 422 and "command" in answer.text
    assert not (tmp_path / "owned").exists()


def test_doctor_finds_all_of_it_in_order(up: Up) -> None:
    code, out, _ = up.said("doctor", "--json")
    found = json.loads(out)["findings"]
    assert code == 0, out
    assert {one["check"] for one in found if one["state"] == "ok"} >= {
        "server",
        "clock",
        "pools",
        "workers",
        "deployments",
        "automations",
        "pages",
    }


@pytest.mark.usefixtures("registered")
def test_what_servers_workers_and_runs_have_made_is_its_owners_alone(up: Up) -> None:
    found = {
        path.relative_to(up.home): stat.S_IMODE(path.lstat().st_mode)
        for path in up.home.rglob("*")
        if not path.is_symlink()
    }
    assert {
        Path(name)
        for name in (
            "prefect/prefect.db",
            "mlflow/mlflow.db",
            "logs/up.log",
            "up/up.json",
            "dashboard/index.html",
        )
    } <= set(found)
    assert {path: oct(mode) for path, mode in found.items() if mode & 0o077} == {}


@pytest.mark.usefixtures("registered")
def test_a_killed_worker_and_a_killed_server_come_back(up: Up) -> None:
    before = {
        process.pid
        for process in up.processes()
        if {"worker", "server", "flows.web.prefect_app"} & set(process.cmdline())
    }
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: _answers(up))
    run = up.begin("retrain/shakespeare", **SHAKESPEARE)
    assert up.ended(run)["state_name"] == "Nothing to do"


def _answers(up: Up) -> bool:
    try:
        return up.api("GET", "/health").status_code == 200
    except httpx.TransportError:
        return False


def test_all_killed_in_the_middle_of_training_go_on_after_a_new_start(up: Up) -> None:
    seeded = SHAKESPEARE | {"overrides": [*SMALL, "seed=3"]}
    run = up.begin("retrain/shakespeare", **seeded)
    wait_for(lambda: is_training(up))
    for process in up.processes():
        with suppress(psutil.Error):  # it went when another one did
            process.kill()
    psutil.wait_procs(up.processes(), 10)
    assert up.process is not None
    up.process.communicate()
    up.start()
    assert up.ended(run)["state_type"] == "COMPLETED"
    assert up.record(run)["state"] == "done" and live_runs(up.home / "runs") == []
