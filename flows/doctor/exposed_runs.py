"""Finds and removes secrets of addresses in the parameters of flow runs, which Prefect stores and
shows: earlier versions passed them, or someone typed them into the form."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.server.lifecycle import prefect_api
from pipelines.network.addresses import shown
from pipelines.network.credentials import has_secrets, secret_overrides
from pipelines.upkeep.findings import FIX, Finding

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

PAGE = 200  # flow runs per request: Prefect's maximum
CHANGE = "; anyone who can open Prefect's pages can see them: change the password"


def without_secrets(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the flow run's parameters should be; None if they contain no secret."""
    mirror, overrides = parameters.get("mirror"), parameters.get("overrides")
    cleaned = dict(parameters)
    if isinstance(mirror, str) and has_secrets(mirror):
        cleaned["mirror"] = shown(mirror)
    if isinstance(overrides, list):
        secret = secret_overrides(text for text in overrides if isinstance(text, str))
        cleaned["overrides"] = [text for text in overrides if text not in secret]
    return None if cleaned == parameters else cleaned


def in_database(home: Path) -> list[str]:
    """The flow runs with secrets in the home's own database, whether or not its server is
    running."""
    path = (home / "prefect" / "prefect.db").absolute()
    found: list[str] = []
    if path.is_file():
        with (
            suppress(sqlite3.Error, ValueError),
            closing(  # other checks report this
                sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
            ) as database,
        ):
            for name, given in database.execute("select name, parameters from flow_run"):
                if without_secrets(json.loads(given)) is not None:
                    found.append(name)
    return found


def on_server(client: SyncPrefectClient) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The flow runs with secrets, and what their parameters should be."""
    start = 0
    while page := client.read_flow_runs(limit=PAGE, offset=start):
        for run in page:
            if (cleaned := without_secrets(run.parameters)) is not None:
                yield run, cleaned
        start += len(page)


def finding(names: list[str], home: Path) -> Iterator[Finding]:
    if names:
        more = f" and {len(names) - 1} more" if names[1:] else ""
        yield Finding(
            "secrets",
            "problem",
            "Prefect shows the user, password or query of an address in the parameters "
            f"of flow run {names[0]}{more}",
            f"{FIX}{CHANGE}",
            lambda: clean(home),
        )


def clean(home: Path) -> str:
    """On the running server, or on one started for it."""
    with prefect_api(home):
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            found = list(on_server(client))
            for run, parameters in found:
                client.update_flow_run(run.id, parameters=parameters)
    return f"removed the secrets from the parameters of {len(found)} flow runs in Prefect"
