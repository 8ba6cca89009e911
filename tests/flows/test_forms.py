"""The form of a deployment: names as in the command line, and only what the pipeline has."""

from __future__ import annotations

from typing import Any

import pytest
from prefect.utilities.schema_tools.validation import is_valid

from flows.deployments import deployments, shipped
from flows.forms import form

pytestmark = pytest.mark.slow  # imports Prefect

IMDB = form("flows.retrain.retrain", "imdb")


def in_order(schema: dict[str, Any]) -> list[str]:
    return [one["title"] for one in sorted(schema["properties"].values(), key=by_position)]


def by_position(field: dict[str, Any]) -> int:
    return field["position"]


def test_what_people_use_first_is_at_the_top_under_the_names_of_the_command_line() -> None:
    assert in_order(IMDB)[:5] == ["profile", "set", "only", "from", "until"]
    assert in_order(form("flows.stage.stage", "imdb"))[:2] == ["stage", "all-below"]
    assert all(len(one["description"]) > 10 for one in IMDB["properties"].values())
    assert "pipeline" not in IMDB["properties"] and not IMDB["required"]


@pytest.mark.parametrize(
    ("given", "valid"),
    [
        ({}, True),
        ({"profile": "quick"}, True),
        ({"profile": "quick+book"}, True),
        ({"profile": "qick"}, False),
        ({"profile": "quick+qick"}, False),
        ({"profile": "lines"}, False),  # of jawiki
        ({"since": "start", "overrides": ["seed=2"], "using": "latest"}, True),
        ({"only": "tokenz"}, False),
        ({"overrides": ["seed"]}, False),
        ({"train_in": "cellar"}, False),
        ({"mirror": "http://anna:hush@host/"}, False),
    ],
)
def test_a_pipelines_own_values_are_accepted_and_others_refused(
    given: dict[str, Any], valid: bool
) -> None:
    assert is_valid({"pipeline": "imdb", "profile": "full"} | given, IMDB) == valid


def test_a_stage_that_the_pipeline_does_not_have_is_not_offered() -> None:
    shakespeare = form("flows.stage.stage", "shakespeare")["properties"]["stage"]["enum"]
    assert "start" not in shakespeare and shakespeare[-1] == "report"
    assert "start" in form("flows.stage.stage", "imdb")["properties"]["stage"]["enum"]


def test_deployments_are_told_apart() -> None:
    listed = deployments(shipped())["deployments"]
    assert len({one["name"] for one in listed}) == len(listed)
    assert len({one["description"] for one in listed}) == len(listed)
    assert len({tuple(one["tags"]) for one in listed}) == len(listed)
    assert all(one["tags"][0] == "folio" and one["enforce_parameter_schema"] for one in listed)
    assert ["folio", "score", "imdb"] in [one["tags"] for one in listed]
