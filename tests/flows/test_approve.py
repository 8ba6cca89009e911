"""`registry.approval: manual`: a promotion waits for a person, by command or in Prefect."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.events import Event
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Crashed, Running

from flows.approve import approve
from flows.deployments import deployments
from flows.retrain import retrain
from flows.services.automations import automations
from flows.services.deployed import deploy
from flows.services.sweeping import sweep
from pipelines.declaration.load import load_spec
from pipelines.errors import UsageError
from pipelines.registry.champions import history, promote
from pipelines.registry.lookup import list_models, named_version
from pipelines.run.plan import plan
from pipelines.store.settings import Settings
from pipelines.upkeep.own_catalog import add
from tests.conftest import PLAY, declared
from tests.prefect_server import require_pool
from tests.tasks.test_events import awaited

pytestmark = pytest.mark.slow

BOTH = (approve, retrain)
MANUAL = ["registry.approval=manual"]
HOW = "waits for approval: folio promote tiny-play 1"


@pytest.fixture
def settings(
    prefect_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trained: Settings,
    empty_registry: Path,
) -> Settings:
    """A home with all artifacts of the tiny pipelines and nothing registered."""
    home = shutil.copytree(trained.home, tmp_path / "home")
    shutil.rmtree(home / "mlflow")
    shutil.copytree(empty_registry / "mlflow", home / "mlflow")
    monkeypatch.setenv("FOLIO_HOME", str(home))
    return Settings.at(home)


def test_a_promotion_waits_everywhere_until_it_is_approved(
    settings: Settings, play: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.display.models import models
    from flows.display.runs import summary

    record = retrain(str(play), overrides=MANUAL)
    assert (record["version"], record["verdict"], record["waits"]) == (1, "waits", 1)
    summary([record])
    assert capsys.readouterr().out.splitlines()[-1].strip() == HOW
    with pytest.raises(UsageError, match=f"no version is champion; version 1 {HOW}"):
        named_version(settings.home, "tiny-play")
    models(list_models(settings.home, "tiny-play"))
    assert f"version 1 {HOW}" in capsys.readouterr().out
    spec = load_spec(str(play), overrides=tuple(MANUAL))
    decisions = {one.stage: one.reason for one in plan(spec, settings)}
    assert decisions["release"] == f"nothing changed; version 1 {HOW}"
    assert decisions["metrics"] == "nothing changed"
    assert HOW in Path(record["report"]).read_text(encoding="utf-8")
    page = settings.home / "dashboard" / "index.html"
    assert f"version 1 {HOW}" in page.read_text(encoding="utf-8")

    promote(settings.home, "tiny-play", 1, "looks good")
    assert named_version(settings.home, "tiny-play").number == 1
    again = retrain(str(play), overrides=MANUAL)
    assert again["state"] == "nothing-to-do" and again["waits"] is None
    assert HOW not in page.read_text(encoding="utf-8")


def test_the_approval_is_in_the_key_of_the_release_and_what_follows_alone(
    settings: Settings, play: Path
) -> None:
    spec = load_spec(str(play), overrides=tuple(MANUAL))
    changed = {one.stage for one in plan(spec, settings) if one.action != "reuse"}
    assert changed == {"release", "report"}


@pytest.fixture
def asked(settings: Settings, tmp_path: Path) -> Iterator[FlowRun]:
    """A run of the deployment that asks, as a retraining starts it; version 1 waits."""
    text = PLAY.replace("floor: 8.0}", "floor: 8.0, approval: manual}")
    file = declared(tmp_path, "held-play", text)
    add(str(file), settings)
    retrain(str(file))
    spec = load_spec("held-play")
    (entry,) = (
        one
        for one in deployments({"held-play": spec})["deployments"]
        if one["entrypoint"] == "flows.approve.approve"
    )
    with get_client(sync_client=True) as client:
        require_pool(client)
        deploy(client, entry)
        deployment = client.read_deployment_by_name("approve/held-play-approve")
        yield client.create_flow_run_from_deployment(deployment.id, parameters={"version": 1})
        client.delete_deployment(deployment.id)


def carried_on(run: FlowRun) -> Any:
    with get_client(sync_client=True) as client:
        now = client.read_flow_run(run.id)
    return run_flow(approve, flow_run=now, parameters=now.parameters, return_type="state")


@pytest.mark.long
@pytest.mark.parametrize("yes", [True, False])
def test_a_person_answers_in_prefect(settings: Settings, asked: FlowRun, yes: bool) -> None:
    with pytest.raises(Pause):
        carried_on(asked)
    with get_client(sync_client=True) as client:
        waiting = awaited(lambda: client.read_flow_run(asked.id))
        assert waiting.state.name == "Suspended" and waiting.name == "held-play version 1"
        assert waiting.state.state_details.pause_timeout is not None
        client.resume_flow_run(asked.id, run_input={"approve": yes, "reason": "seen"})
    state = carried_on(asked)
    last = history(settings.home, "held-play")[-1]
    assert (last["action"], last["reason"]) == ("promote" if yes else "decline", "seen")
    assert last["champion"] == (1 if yes else None)
    assert state.is_completed() and (yes or state.name == "Not approved")
    (version,) = list_models(settings.home, "held-play")[0]["versions"]
    assert not version["waits"] and version["verdict"] == ("promote" if yes else "reject")


@pytest.mark.long
@pytest.mark.parametrize("answered", [True, False])
def test_a_question_that_died_is_asked_again_and_its_answer_is_not_lost(
    settings: Settings, asked: FlowRun, answered: bool
) -> None:
    with pytest.raises(Pause):
        carried_on(asked)
    with get_client(sync_client=True) as client:
        if answered:
            client.resume_flow_run(asked.id, run_input={"approve": True, "reason": "seen"})
        for state in (Crashed(), AwaitingRetry()):
            client.set_flow_run_state(asked.id, state)
        if not answered:
            with pytest.raises(Pause):
                carried_on(asked)
            assert client.read_flow_run(asked.id).state.name == "Suspended"
            client.resume_flow_run(asked.id, run_input={"approve": True, "reason": "seen"})
    assert carried_on(asked).is_completed()
    last = history(settings.home, "held-play")[-1]
    assert (last["action"], last["reason"], last["champion"]) == ("promote", "seen", 1)


@pytest.mark.long
def test_an_answer_by_command_ends_the_question(settings: Settings, asked: FlowRun) -> None:
    with pytest.raises(Pause):
        carried_on(asked)
    sweep(settings.runs)
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(asked.id).state.name == "Suspended"
        promote(settings.home, "held-play", 1, "looks good")
        sweep(settings.runs)
        assert client.read_flow_run(asked.id).state.name == "Decided"


@pytest.mark.long
def test_a_run_that_waits_for_an_answer_is_not_taken_for_a_silent_one(prefect_home: Path) -> None:
    """Though its heartbeat may arrive after it was suspended; of a retraining it would mean that
    the process is dead."""
    (silent,) = (one for one in automations() if "silent" in one.name)
    soon = silent.trigger.model_copy(update={"within": timedelta(seconds=10)})
    with get_client(sync_client=True) as client:
        made = client.create_automation(silent.model_copy(update={"trigger": soon}))
        runs = {flow.name: client.create_flow_run(flow, state=Running()) for flow in BOTH}
        for name, run in runs.items():
            flow = {"prefect.resource.role": "flow", "prefect.resource.name": name}
            event = Event(
                event="prefect.flow-run.heartbeat",
                resource={"prefect.resource.id": f"prefect.flow-run.{run.id}"},
                related=[{"prefect.resource.id": f"prefect.flow.{run.flow_id}", **flow}],
            )
            # Not by `emit_event`, which adds the flows that this process has run before.
            told = httpx.post(
                f"{os.environ['PREFECT_API_URL']}/events", json=[event.model_dump(mode="json")]
            )
            assert told.is_success, told.text
        found = partial(client.read_flow_run, runs["retrain"].id)
        assert awaited(lambda: found().state.is_crashed())
        time.sleep(6)  # one more look of the server
        assert client.read_flow_run(runs["approve"].id).state.is_running()
        client.delete_automation(made)
