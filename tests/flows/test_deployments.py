"""prefect.yaml says what the declarations say, and its entrypoints are the flows."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest
import yaml
from prefect import Flow

from flows.deployments import FILE, classifiers, deployments, shipped
from pipelines.declaration.catalog import shipped_names
from pipelines.declaration.load import load_spec

LISTED = deployments(shipped())["deployments"]


def test_the_file_is_what_the_declarations_give() -> None:
    assert yaml.safe_load(FILE.read_text(encoding="utf-8")) == deployments(shipped()), (
        "write it again with: python -m flows.deployments > prefect.yaml"
    )


def test_each_pipeline_is_retrained_by_its_schedule_and_its_stages_can_be_repeated() -> None:
    found = {(entry["entrypoint"].split(".")[1], entry["name"]): entry for entry in LISTED}
    assert len(found) == len(LISTED) == 2 * len(shipped_names()) + len(classifiers(shipped())) + 1
    for name in shipped_names():
        schedule = load_spec(name).schedule
        retrain = found["retrain", name]
        assert schedule is not None and retrain["schedules"] == [
            {"cron": schedule.cron, "timezone": schedule.timezone}
        ]
        assert retrain["parameters"] == {"pipeline": name, "profile": schedule.profile}
        assert "schedules" not in found["stage", name]


def test_each_classifier_scores_when_it_is_asked_or_scheduled_to() -> None:
    assert classifiers(shipped()) == ["imdb"]
    [entry] = [entry for entry in LISTED if entry["entrypoint"] == "flows.score.score"]
    assert entry["name"] == "imdb" and entry["parameters"] == {"pipeline": "imdb"}
    assert entry["work_pool"] == {"name": "cpu"} and "schedules" not in entry


def test_training_alone_lives_in_the_pool_gpu() -> None:
    assert [entry["name"] for entry in LISTED if entry["work_pool"]["name"] == "gpu"] == ["train"]


@pytest.mark.parametrize("entry", LISTED, ids=lambda entry: entry["entrypoint"] + entry["name"])
def test_an_entrypoint_is_a_flow_that_takes_the_parameters(entry: dict) -> None:
    module, _, name = entry["entrypoint"].rpartition(".")
    flow = getattr(import_module(module), name)
    assert isinstance(flow, Flow)
    assert set(entry["parameters"]) <= set(inspect.signature(flow.fn).parameters)
    if entry["parameters"]:
        flow.validate_parameters(entry["parameters"])
