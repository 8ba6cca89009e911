"""A text that has drifted is an event in Prefect, which an automation can wait for."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.automations import Automation

from pipelines.store.settings import Settings
from tasks.events import EVENT
from tasks.reporting import settle
from tests.conftest import PROJECT, REVIEWS
from tests.prefect_server import rows

pytestmark = pytest.mark.slow

WAIT_SECONDS = 20  # the server writes events in batches


def events(prefect_home: Path, run: str) -> list[tuple[str, dict[str, Any], str]]:
    """(resource, payload, related) of the drift events of a run."""
    settle()
    found = rows(
        prefect_home, "select resource_id, payload, related from events where event = ?", EVENT
    )
    told = [(resource, json.loads(payload), related) for resource, payload, related in found]
    return [one for one in told if one[1]["run"] == run]


def awaited(ask: Callable[[], Any]) -> Any:
    """What `ask` answers as soon as that is something."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return answer


def documented() -> Automation:
    """The automation of docs/lineage.md, but that it has nothing to do."""
    page = (PROJECT / "docs" / "lineage.md").read_text(encoding="utf-8")
    told = yaml.safe_load(re.search(r"```yaml\n(.*?)```", page, re.DOTALL)[1])
    Automation(**told)  # its own action is a valid one
    return Automation(**told | {"actions": [{"type": "do-nothing"}]})


def test_an_event_tells_of_drift(
    prefect_home: Path, trained: Settings, tmp_path: Path, monkeypatch: Any, reviews: Path
) -> None:
    shutil.copytree(trained.home, tmp_path / "home")
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    from flows.retrain import retrain

    automation = documented().create()
    text = (PROJECT / "data" / "samples" / "reviews.csv").read_text(encoding="utf-8")
    (tmp_path / "reviews.csv").write_text(text.replace(" ", " otherwise "), encoding="utf-8")
    (tmp_path / "tiny-reviews.yaml").write_text(
        "name: tiny-reviews\n" + REVIEWS.format(samples=tmp_path)
    )
    record = retrain(str(tmp_path / "tiny-reviews.yaml"), until="tokens")
    assert "median length (tokens)" in record["drift"]["drifted"]
    found = awaited(lambda: events(prefect_home, record["run"]))
    ((resource, payload, related),) = found
    assert resource == "folio.pipeline.tiny-reviews"
    assert payload == {"run": record["run"], **record["drift"]}
    assert "prefect.flow-run." in related and record["run"] in related

    query = "select count(*) from events where event = ? and resource_id = ?"
    assert (
        awaited(
            lambda: rows(
                prefect_home,
                query,
                "prefect.automation.triggered",
                f"prefect.automation.{automation.id}",
            )[0][0]
        )
        == 1
    )

    same = retrain(str(reviews), until="tokens")
    assert same["drift"]["same_text"]
    assert events(prefect_home, same["run"]) == []
