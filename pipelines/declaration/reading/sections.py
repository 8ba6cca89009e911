"""A section in a profile or a --set value changes the keys that it names and leaves the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.declaration.section_base import section_under
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
        section = section_under(model, name)
        before = old.get(name) if isinstance(old, dict) else None
        if section and isinstance(value, dict) and (before is None or isinstance(before, dict)):
            yield from _values(f"{prefix}{name}.", value, section, before)
        else:
            yield f"{prefix}{name}", value
