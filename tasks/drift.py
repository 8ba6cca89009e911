"""Tells Prefect when the text has drifted, so that an automation can act on it."""

from __future__ import annotations

from prefect.events import emit_event

from pipelines.retraining import Retraining

EVENT = "folio.drift"


def emit_drift(run: Retraining) -> None:
    """One event for all measures that drifted; none when none did."""
    if run.drift and run.drift["drifted"]:
        emit_event(EVENT, resource={"prefect.resource.id": f"folio.pipeline.{run.spec.name}",
                                    "prefect.resource.name": run.spec.name},
                   payload={"run": run.run, **run.drift})
