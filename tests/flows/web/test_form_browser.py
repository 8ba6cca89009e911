"""A real browser: what Prefect's page shows of a deployment's form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.deployments import deployments
from flows.server.lifecycle import address_of
from flows.services.deployed import deploy
from pipelines.declaration.load import load_spec
from tests.flows.web.test_guard_browser import pytestmark as browser
from tests.flows.web.test_guard_browser import seen
from tests.prefect_server import require_pool

pytestmark = [*browser, pytest.mark.long, pytest.mark.timeout(600)]


def test_the_form_has_the_fields_of_the_command_line(prefect_home: Path, tmp_path: Path) -> None:
    entry = deployments({"words": load_spec("words")})["deployments"][0]
    server = (address_of(prefect_home / "prefect") or "").removesuffix("/api")
    with get_client(sync_client=True) as client:
        require_pool(client)
        deploy(client, entry)
        form = client.read_deployment_by_name("retrain/words").id
        page = seen(tmp_path, f"{server}/deployments/deployment/{form}/run")
        client.delete_deployment(form)
    shown = re.sub(r"<[^>]+>", "\n", page)
    labels = re.findall(r"^\s*([\w-]+) *\(Optional\)\s*$", shown, re.MULTILINE)
    assert labels[:5] == ["profile", "set", "only", "from", "until"]
    assert "pipeline" not in labels and "train-in" in labels
    assert "declared" in shown and "combined" in shown
