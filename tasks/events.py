"""Emits events in Prefect, so that an automation can react: drifted texts, new champions."""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event

from pipelines.run.execute import StageResult

EVENT = "folio.drift"
CHAMPION_EVENT = "folio.champion"


def emit_drift(pipeline: str, drift: dict[str, Any] | None, **origin: str) -> None:
    """One event for all drifted measures, or none. `origin` identifies the text."""
    if drift and drift["drifted"]:
        emit_event(EVENT, resource=_resource(pipeline), payload=origin | drift)


def emit_champion(pipeline: str, release: StageResult | None, **origin: str) -> None:
    """An event if the release made its version champion, now or in an earlier attempt."""
    if release and release.action != "reuse" and release.artifact.counts["verdict"] == "promote":
        emit_new_champion(pipeline, release.artifact.counts["version"], **origin)


def emit_new_champion(pipeline: str, version: int, **origin: str) -> None:
    """An event: that version is champion now."""
    payload = origin | {"version": version}
    emit_event(CHAMPION_EVENT, resource=_resource(pipeline), payload=payload)


def resource_id(pipeline: str) -> str:
    return f"folio.pipeline.{pipeline}"


def _resource(pipeline: str) -> dict[str, str]:
    return {"prefect.resource.id": resource_id(pipeline), "prefect.resource.name": pipeline}
