"""Runs with nothing to do reach Prefect over plain HTTP: importing Prefect would take longer.

prefect/idle/RUN.json    a run that no server knows yet; the next server gets it

Prefect shows the time of the report; the message says when the run was. Tested with Prefect 3.8.
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from flows.web.passwords import auth_string
from pipelines.errors import UnreadableError
from pipelines.files.home import made
from pipelines.files.small_files import read_object
from pipelines.files.whole_files import write_json
from pipelines.store.run_records import Record

SECONDS = 30  # for an answer: a server that has just started is slow
PAUSES = (0.5, 1.0, 2.0)  # after "not now": its database is locked while others write
FLOW, STATE = "retrain", "Nothing to do"


def report(home: Path, record: Record, parameters: dict[str, Any], api: str | None) -> None:
    """Report a run to the home's server, or to the next one if none is up."""
    own = {name: record[name] for name in ("profile", "overrides", "run")}
    write_json(
        made(_folder(home)) / f"{record['run']}.json",
        {
            "run": record["run"],
            "started": record["started"],
            "tags": ["sample"] if record["sample"] else [],
            "parameters": parameters | own | {"pipeline": record["declared"]},
        },
    )
    if api:
        deliver(home, api)


def deliver(home: Path, api: str) -> None:
    """Report the waiting runs to the home's server. What it does not accept keeps waiting."""
    if not (waiting := sorted(_folder(home).glob("*.json"))):
        return
    server = _Server(api, auth_string(home))
    try:
        flow = server.post("/flows/", {"name": FLOW})["id"]
        for path in waiting:
            with suppress(UnreadableError):  # it does not keep the others back
                run = read_object(path, run=str, started=str, tags=list, parameters=dict)
                _send(server, flow, run)
            path.unlink(missing_ok=True)
    except (OSError, HTTPException, ValueError, KeyError):
        return


def _folder(home: Path) -> Path:
    return home / "prefect" / "idle"


def _send(server: _Server, flow: str, run: dict[str, Any]) -> None:
    begun = {
        "flow_id": flow,
        "name": run["run"],
        "parameters": run["parameters"],
        "tags": run["tags"],
        "idempotency_key": run["run"],  # reported twice, it is still one run
        "state": {"type": "RUNNING"},
    }
    key = server.post("/flow_runs/", begun)["id"]
    message = f"every stage was reused, at {run['started']}"
    ended = {"type": "COMPLETED", "name": STATE, "message": message}
    server.post(f"/flow_runs/{key}/set_state", {"state": ended, "force": True})


class BusyError(OSError):
    """The server may answer when it is asked again, as Prefect's own client does."""


class _Server:
    """A local Prefect server."""

    def __init__(self, api: str, auth: str | None) -> None:
        parts = urlsplit(api)
        self._place, self._path = (parts.hostname or "", parts.port), parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if auth:
            self._headers["Authorization"] = f"Basic {b64encode(auth.encode()).decode()}"

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer. Raises OSError if there is none or it is a refusal."""
        for pause in PAUSES:
            try:
                return self._posted(path, body)
            except BusyError:
                time.sleep(pause)
        return self._posted(path, body)

    def _posted(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        connection = HTTPConnection(*self._place, timeout=SECONDS)
        try:
            connection.request("POST", self._path + path, json.dumps(body), self._headers)
            answer = connection.getresponse()
            if answer.status >= 500:
                raise BusyError(f"{path}: {answer.status}")
            if answer.status >= 300:
                raise OSError(f"{path}: {answer.status}")
            return json.load(answer)
        finally:
            connection.close()
