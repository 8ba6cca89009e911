"""Emits drift events in Prefect, so that an automation can react."""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event

EVENT = "folio.drift"


def emit_drift(pipeline: str, drift: dict[str, Any] | None, **origin: str) -> None:
    """One event for all drifted measures, or none. `origin` identifies the text."""
    if drift and drift["drifted"]:
        emit_event(
            EVENT,
            resource={
                "prefect.resource.id": f"folio.pipeline.{pipeline}",
                "prefect.resource.name": pipeline,
            },
            payload=origin | drift,
        )
