"""`folio run --cluster`, and `folio plan` without it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flows.cli.test_cli import Folio, api, command, environment
from tests.prefect_server import new_home, prefect_home

pytestmark = pytest.mark.slow

__all__ = ["api", "command", "environment", "new_home", "prefect_home"]


@pytest.mark.long
def test_what_a_cluster_made_is_reused_without_it(command: Folio, reviews: Path) -> None:
    done = command("run", str(reviews), "--until", "batches", "--cluster", "local:1", "--json")
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert [one["action"] for one in record["stages"]] == ["run"] * 4
    planned = json.loads(command("plan", str(reviews), "--json").stdout)["stages"]
    assert [one["action"] for one in planned[:4]] == ["reuse"] * 4


def test_a_wrong_address_is_refused_before_anything_runs(command: Folio, reviews: Path) -> None:
    done = command("run", str(reviews), "--cluster", "nowhere")
    assert done.returncode == 2 and done.stdout == ""
    assert "--cluster 'nowhere': give tcp://host:port" in done.stderr
