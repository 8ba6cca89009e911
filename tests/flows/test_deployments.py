"""prefect.yaml says what the declarations say, and its entrypoints are the flows."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule

from flows.deployments import FILE, GPU, deployments, shipped
from flows.services.deployed import declared, deploy, installed
from flows.services.installation import install_deployments
from pipelines.declaration.catalog import shipped_names
from pipelines.declaration.load import load_spec
from tests.prefect_server import require_pool

pytestmark = pytest.mark.slow  # imports Prefect

LISTED = deployments(shipped())["deployments"]


def test_the_file_is_what_the_declarations_give() -> None:
    assert yaml.safe_load(FILE.read_text(encoding="utf-8")) == deployments(shipped()), (
        "write it again with: python -m flows.deployments > prefect.yaml"
    )


def test_each_pipeline_is_retrained_by_its_schedule_and_its_stages_can_be_repeated() -> None:
    found = {(entry["entrypoint"].split(".")[1], entry["name"]): entry for entry in LISTED}
    assert len(found) == len(LISTED) == 3 * len(shipped_names()) + 1
    for name in shipped_names():
        schedule = load_spec(name).schedule
        retrain = found["retrain", name]
        assert schedule is not None and retrain["schedules"] == [
            {"cron": schedule.cron, "timezone": schedule.timezone}
        ]
        assert retrain["parameters"] == {"pipeline": name, "profile": schedule.profile}
        assert "schedules" not in found["stage", f"{name}-stage"]


def test_each_pipeline_scores_when_it_is_asked_or_scheduled_to() -> None:
    scoring = [entry for entry in LISTED if entry["entrypoint"] == "flows.score.score"]
    assert [entry["name"] for entry in scoring] == [f"{name}-score" for name in shipped_names()]
    for entry in scoring:
        assert entry["parameters"] == {"pipeline": entry["name"].removesuffix("-score")}
        assert entry["work_pool"] == {"name": "cpu"} and "schedules" not in entry


def test_training_alone_lives_in_the_pool_gpu() -> None:
    assert [entry["name"] for entry in LISTED if entry["work_pool"]["name"] == "gpu"] == ["train"]


def test_what_a_user_scheduled_outlives_a_change_of_the_deployment(prefect_home: Path) -> None:
    """Also the one of a home of before, when score/PIPELINE-score was score/PIPELINE."""
    specs = {"words": load_spec("words"), "imdb": load_spec("imdb")}
    wanted = declared(specs)
    hourly = CronSchedule(cron="7 * * * *", timezone="UTC")
    with get_client(sync_client=True) as client:
        require_pool(client)
        require_pool(client, GPU)
        deploy(client, wanted["score/imdb-score"] | {"name": "imdb"})
        before = client.read_deployment_by_name("score/imdb")
        client.create_deployment_schedules(before.id, [(hourly, True)])
        install_deployments(client, specs, ())
        assert installed(client).keys() == wanted.keys()
        now = client.read_deployment_by_name("score/imdb-score")
        client.update_deployment(now.id, DeploymentUpdate(description="changed"))
        install_deployments(client, specs, ())
        now = client.read_deployment_by_name("score/imdb-score")
        assert now.description == wanted["score/imdb-score"]["description"]
        assert [one.schedule.cron for one in now.schedules] == ["7 * * * *"]
        for one in installed(client).values():
            client.delete_deployment(one.id)


@pytest.mark.parametrize("entry", LISTED, ids=lambda entry: entry["entrypoint"] + entry["name"])
def test_an_entrypoint_is_a_flow_that_takes_the_parameters(entry: dict) -> None:
    module, _, name = entry["entrypoint"].rpartition(".")
    flow = getattr(import_module(module), name)
    assert isinstance(flow, Flow)
    assert set(entry["parameters"]) <= set(inspect.signature(flow.fn).parameters)
    if entry["parameters"]:
        flow.validate_parameters(entry["parameters"])
