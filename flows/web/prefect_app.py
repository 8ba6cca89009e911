"""Prefect's server behind the guard: python -m flows.web.prefect_app --port 4200

`prefect server start` accepts no app but its own. This sets the same things: the final app, whose
lifespan migrates the database and runs the services; the timeouts of connections and their pings;
the log level. Everything else comes from Prefect's settings, as there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from flows.web.guard import Guard
from flows.web.orphaned import end_when_unused

EARLIER_EVENT = timedelta(seconds=5)  # how long an event waits for the one before it


def main() -> None:
    if "PREFECT_SERVER_UI_API_URL" not in os.environ:  # its UI uses the name it was opened at
        os.environ.setdefault("PREFECT_UI_API_URL", "/api")
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    import flows.web.mail  # noqa: F401  the server sends with it

    end_when_unused()
    list_artifacts_in_order()
    wait_briefly_for_earlier_events()
    server = get_current_settings().server
    parser = argparse.ArgumentParser(
        prog="python -m flows.web.prefect_app",
        description="Prefect's server, only for its own pages and clients",
    )
    parser.add_argument("--host", default=server.api.host)
    parser.add_argument("--port", type=int, default=server.api.port)
    chosen = parser.parse_args()
    uvicorn.run(
        Guard(create_app(final=True)),
        host=chosen.host,
        port=chosen.port,
        lifespan="on",
        timeout_keep_alive=server.api.keepalive_timeout,
        ws_ping_interval=server.api.websocket_ping_interval,
        ws_ping_timeout=server.api.websocket_ping_timeout,
        log_level=server.logging_level.lower(),
    )


def list_artifacts_in_order() -> None:
    """On the page of a run, the oldest comes first, so that they are in the order of the stages; by
    itself, Prefect sorts them by their ids, which are random."""
    from prefect.server.database.dependencies import provide_database_interface
    from prefect.server.schemas.sorting import ArtifactSort

    given = ArtifactSort.as_sql_sort

    def as_sql_sort(chosen: ArtifactSort) -> Iterable[Any]:
        if chosen is not ArtifactSort.ID_DESC:
            return given(chosen)
        return [provide_database_interface().Artifact.created.asc()]

    ArtifactSort.as_sql_sort = as_sql_sort  # type: ignore[method-assign,assignment]


def wait_briefly_for_earlier_events() -> None:
    """Else a crashed run of a schedule is tried again a quarter of an hour late: so long Prefect
    holds back an event, and all that follow, if it has not seen the one before. It never sees it
    for the first state of a scheduled run, nor after its own restart."""
    from prefect.server.events.ordering import memory

    memory.PRECEDING_EVENT_LOOKBACK = EARLIER_EVENT


if __name__ == "__main__":
    main()
