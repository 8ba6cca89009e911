"""Tells Prefect when the text has drifted, so that an automation can act on it."""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event

EVENT = "folio.drift"


def emit_drift(pipeline: str, drift: dict[str, Any] | None, **origin: str) -> None:
    """One event for all measures that drifted; none when none did. `origin` says of what."""
    if drift and drift["drifted"]:
        emit_event(
            EVENT,
            resource={
                "prefect.resource.id": f"folio.pipeline.{pipeline}",
                "prefect.resource.name": pipeline,
            },
            payload=origin | drift,
        )
