"""A section in a profile or a --set value changes the keys that it names and leaves the others."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pipelines.declaration.data_sections import Section
from pipelines.declaration.spec import Spec


def flat(changes: dict[str, Any], declared: dict[str, Any]) -> dict[str, Any]:
    """{dotted key: value}, with each key of a section by itself. The value of a dotted key stays
    whole, as do mappings that are no sections (grids, tune, slice floors), or that replace a
    declared single value."""
    return dict(_values("", changes, Spec, declared))


def _values(
    prefix: str, changes: dict[str, Any], model: Any, old: Any
) -> Iterator[tuple[str, Any]]:
    for name, value in changes.items():
        section = _section(model, name)
        before = old.get(name) if isinstance(old, dict) else None
        if section and isinstance(value, dict) and (before is None or isinstance(before, dict)):
            yield from _values(f"{prefix}{name}.", value, section, before)
        else:
            yield f"{prefix}{name}", value


def _section(model: type[Section], name: str) -> type[Section] | None:
    """The section that may be declared under a key of another, if any."""
    field = model.model_fields.get(name)
    kind = field.annotation if field else None
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return next((one for one in members if isinstance(one, type(Section))), None)
