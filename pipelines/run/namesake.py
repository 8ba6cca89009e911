"""Two declarations of one name would share a registered model, and be compared with each other."""

from __future__ import annotations

from pipelines.declaration.catalog import own_names
from pipelines.declaration.load import absolute, load_spec
from pipelines.declaration.reading.declared import declared_name
from pipelines.declaration.spec import Spec
from pipelines.errors import UsageError
from pipelines.store.settings import Settings


def refuse_namesake(pipeline: str, settings: Settings) -> None:
    """Raises UsageError if the latest run of this name was of another declaration that still has
    it, unless this one declares its name or has had runs before."""
    own, here = load_spec(pipeline), absolute(pipeline)
    known = _declarations(own.name, settings)
    if own.name in own_names():
        known.append(absolute(own.name))
    if not known or here in known or declared_name(pipeline):
        return
    latest = _loaded(known[0])
    if latest is None or latest.name != own.name or own in map(_loaded, known):
        return  # moved, renamed, or a copy
    raise UsageError(
        f"{here}: the name {own.name} belongs to another declaration, {known[0]}, whose models "
        "this one's would be compared with; declare another name here, such as "
        f"`name: {own.name}-2`, or use another FOLIO_HOME"
    )


def _declarations(name: str, settings: Settings) -> list[str]:
    """Those of the runs of a name, the latest first."""
    found = (one.get("declared") for one in settings.runs if one["pipeline"] == name)
    return [path for path in dict.fromkeys(found) if path]


def _loaded(pipeline: str) -> Spec | None:
    try:
        return load_spec(pipeline)
    except UsageError:
        return None
