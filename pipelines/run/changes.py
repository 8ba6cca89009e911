"""The differences between a stage's current inputs and those of its last artifact, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.network.addresses import config_shown
from pipelines.source.remote_version import change
from pipelines.stages import STAGES
from pipelines.store.artifacts import Recipe


def why_changed(recipe: Recipe, previous: dict[str, Any] | None) -> str:
    """The differences from the stage's last artifact, in words."""
    if previous is None:
        return "not built yet"
    return "; ".join(changes(recipe, previous)) or "its artifact is gone"


def changes(recipe: Recipe, previous: Mapping[str, Any]) -> list[str]:
    """The differences between a recipe and an artifact's, whose manifest is `previous`."""
    config = config_shown(previous["config"])
    reasons = [
        reason
        for key, value in recipe.config.items()
        if config.get(key) != value
        for reason in _changed_value(_shown(key, recipe), config.get(key), value)
    ]
    reasons += [
        f"{key} {_short(value)} → (gone)"
        for key, value in config.items()
        if key not in recipe.config
    ]
    reasons += _changed_code(recipe, previous["code"])
    reasons += [
        f"{name} {previous['libraries'].get(name, 'absent')} → "
        f"{recipe.libraries.get(name, 'absent')}"
        for name in differing(recipe.libraries, previous["libraries"])
    ]
    if recipe.stage != "start" or not reasons:  # another version has other files
        reasons += _changed_inputs(recipe, previous["inputs"])
    if recipe.version != previous["version"]:
        reasons.append(f"format version {previous['version']} → {recipe.version}")
    return reasons


def _shown(key: str, recipe: Recipe) -> str:
    """A key as a reason names it."""
    if recipe.stage == "start" and key == "model.start_from.version":
        return f"{recipe.config['model.start_from.pipeline']}: version"
    return key


def _changed_value(key: str, before: Any, now: Any) -> Iterator[str]:
    """One difference, or those of a mapping's values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in differing(now, before):
            yield from _changed_value(f"{key}.{name}", before.get(name), now.get(name))
    else:
        yield f"{key} {_short(before)} → {_short(now)}"


def _changed_code(recipe: Recipe, before: Mapping[str, str]) -> list[str]:
    """The changed files; a single reason for all if the stage's module was renamed."""
    module = next(stage.module for stage in STAGES if stage.name == recipe.stage)
    path = f"{module.replace('.', '/')}.py"
    if path not in before:
        return [f"code moved to {path}"]
    return [f"{changed} changed" for changed in differing(recipe.code, before)]


def _changed_inputs(recipe: Recipe, before: Mapping[str, str]) -> list[str]:
    if not recipe.inputs:  # or the source was not contacted, and nothing is known about its files
        return []
    if recipe.stage != "source" or not recipe.config["source.url"]:
        return [f"{name} changed" for name in differing(recipe.inputs, before)]
    return [
        f"source changed: {change(name, before.get(name, 'unasked'), version)}"
        for name, version in recipe.inputs.items()
        if before.get(name) != version
    ]


def differing(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ."""
    return sorted(k for k in now.keys() | before.keys() if now.get(k) != before.get(k))


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first names, and how many there are besides."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _short(value: Any) -> str:
    text = "unset" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "…"
