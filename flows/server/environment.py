"""The environment in which Prefect runs here: its API, little output, reliable reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module

from tasks.reporting import settle

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # logs still go to the API
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@contextmanager
def prefect_environment(local: Mapping[str, str | None]) -> Iterator[None]:
    """The environment that Prefect reads, and its import, which takes 2 s while a server starts."""
    changes = {**QUIET, **local}
    before = {name: os.environ.get(name) for name in changes}
    late = "prefect" in sys.modules
    _set_environment(changes)
    try:
        import_module("flows.retrain")
        if late:
            _reread_settings()
        yield
    finally:
        _set_environment(before)
        _reread_settings()


@contextmanager
def reported() -> Iterator[None]:
    """Leave only when everything reported has arrived."""
    try:
        yield
    finally:
        if lost := settle():
            print(
                f"Prefect: the end states of {lost} task runs did not reach its database",
                file=sys.stderr,
            )


@contextmanager
def without_heartbeats() -> Iterator[None]:
    """Otherwise each flow run would wait up to a second for a heartbeat that nothing uses here."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


def _reread_settings() -> None:
    if "prefect.context" in sys.modules:
        sys.modules["prefect.context"].refresh_global_settings_context()


def changed(environment: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """`environment` with `changes`; None removes a variable."""
    merged = {**environment, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def _set_environment(changes: Mapping[str, str | None]) -> None:
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def past_proxies() -> dict[str, str]:
    """The user's proxy must not be used for this machine's own addresses."""
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    direct = ",".join(filter(None, [named, "127.0.0.1", "localhost"]))
    return {"no_proxy": direct, "NO_PROXY": direct}
