"""Two declarations of one name would share a registered model, and be compared with each other."""

from __future__ import annotations

from pipelines.declaration.load import absolute, declared_name, load_spec
from pipelines.declaration.spec import Spec
from pipelines.errors import UsageError
from pipelines.store.settings import Settings


def refuse_namesake(pipeline: str, settings: Settings) -> None:
    """Raises UsageError if the latest run of this name was of another declaration that still has
    it, unless this one declares its name."""
    name, here = load_spec(pipeline).name, absolute(pipeline)
    there = _latest(name, settings)
    if there is None or there == here or declared_name(pipeline):
        return
    other = _loaded(there)
    if other is None or other.name != name or other == load_spec(pipeline):
        return  # moved, renamed, or a copy
    raise UsageError(
        f"{here}: the name {name} belongs to another declaration, {there}, whose models this one's "
        f"would be compared with; declare another name here, such as `name: {name}-2`, or use "
        "another FOLIO_HOME"
    )


def _latest(name: str, settings: Settings) -> str | None:
    records = (record for record in settings.runs if record["pipeline"] == name)
    return next((record.get("declared") for record in records), None)


def _loaded(pipeline: str) -> Spec | None:
    try:
        return load_spec(pipeline)
    except UsageError:
        return None
