"""Reads declarations: a catalog name or a YAML file anywhere, a profile, and --set values."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from pipelines.errors import UsageError
from pipelines.spec import Spec

CATALOG = Path(__file__).parent / "catalog"
PROJECT = CATALOG.parent.parent
FULL = "full"
ORIGINS = ("url", "path", "files", "tfds")  # of source: one of them at a time


def catalog_names() -> list[str]:
    """The pipelines that come with Folio."""
    return sorted(path.stem for path in CATALOG.glob("*.yaml"))


def load_spec(
    pipeline: str, profile: str = FULL, overrides: tuple[str, ...] = (), sample: bool = False
) -> Spec:
    """The declaration of `pipeline` with profiles and `key=value` overrides applied, in order.

    `profile` is one, or several joined by +, such as quick+lines. With `sample`, the source is the
    declaration's small sample and its profile `sample` is applied as well. Raises UsageError
    naming file, line and key.
    """
    path = _find(pipeline)
    data, places = _read(path)
    profiles = data.pop("profiles", None) or {}
    changes: dict[str, Any] = {}
    for name in (*profile.split("+"), *(["sample"] if sample else ())):
        chosen = _profile(path, places, profiles, name)
        changes |= chosen
        places |= {key: places[f"profiles.{name}.{key}"] for key in chosen}
    if sample:
        changes |= _sample_source(path, data)
    chosen = dict(_override(text) for text in overrides)
    changes |= chosen
    places |= {key: f"--set {key}" for key in chosen}
    _drop_replaced_origin(data, changes)
    for key, value in changes.items():
        _put(data, key, value)
    _resolve_paths(path, data)
    data |= {"name": path.stem, "profile": profile, "sample": sample}
    return _validate(path, places, data)


def has_sample(pipeline: str) -> bool:
    data, _ = _read(_find(pipeline))
    return bool((data.get("source") or {}).get("sample"))


def profile_names(pipeline: str) -> list[str]:
    data, _ = _read(_find(pipeline))
    return [FULL, *(name for name in data.get("profiles") or {} if name not in (FULL, "sample"))]


def absolute(pipeline: str) -> str:
    """A name of the catalog as it is; a path so that it means the same from any folder."""
    return str(Path(pipeline).resolve()) if _is_path(pipeline) else pipeline


def _is_path(pipeline: str) -> bool:
    return pipeline.endswith((".yaml", ".yml")) or "/" in pipeline


def _find(pipeline: str) -> Path:
    if _is_path(pipeline):
        path = Path(pipeline)
        if not path.is_file():
            raise UsageError(f"{pipeline}: no such declaration; give the path of a YAML file")
        return path.resolve()
    path = CATALOG / f"{pipeline}.yaml"
    if path.is_file():
        return path
    raise UsageError(f"unknown pipeline {pipeline!r}; "
                     f"known: {', '.join(catalog_names())}, or the path of a YAML file")


def _read(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The declaration as plain data, and {dotted key: "file:line"}."""
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.safe_load(text)
        lines = _line_numbers(yaml.compose(text, Loader=yaml.SafeLoader))
        places = {key: f"{path}:{line}" for key, line in lines.items()}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        what = getattr(error, "problem", None) or error
        raise UsageError(f"{where}: not valid YAML: {what}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path}: a declaration is a mapping that begins with `source:`")
    return data, places


def _line_numbers(node: yaml.Node | None, prefix: str = "") -> dict[str, int]:
    """{dotted key: line}, so that an error can point at the place in the file."""
    lines: dict[str, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            dotted = f"{prefix}{key.value}"
            if dotted in lines:
                raise yaml.MarkedYAMLError(problem=f"{dotted} is given twice",
                                           problem_mark=key.start_mark)
            lines[dotted] = key.start_mark.line + 1
            lines |= _line_numbers(value, f"{dotted}.")
    return lines


def _profile(path: Path, places: dict[str, str], profiles: Any, name: str) -> dict[str, Any]:
    if not isinstance(profiles, dict):
        raise UsageError(f"{places['profiles']}: profiles maps a name to key: value pairs")
    if name in profiles:
        changes = profiles[name] or {}
        if not isinstance(changes, dict):
            raise UsageError(f"{places[f'profiles.{name}']}: a profile maps keys to values, "
                             "such as training.epochs: 1")
        return changes
    if name in (FULL, "sample"):
        return {}
    known = [FULL, *(n for n in profiles if n != "sample")]
    raise UsageError(f"{path}: no profile {name!r}{_nearest(name, known)}; "
                     f"known: {', '.join(known)}")


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: write key=value, such as training.epochs=2")
    try:
        return _of_working_folder(key.strip(), yaml.safe_load(value))
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: the value is not valid YAML") from error


def _of_working_folder(key: str, value: Any) -> tuple[str, Any]:
    """A path given on the command line is meant from there, not from beside the declaration."""
    if key in ("source.path", "source.files") and isinstance(value, str):
        value = str(Path(value).expanduser().absolute())
    elif key == "source" and isinstance(value, dict):
        value = {name: _of_working_folder(f"source.{name}", own)[1] for name, own in value.items()}
    return key, value


def _sample_source(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    sample = (data.get("source") or {}).get("sample")
    if not sample:
        raise UsageError(f"{path}: declares no source.sample, so --allow-sample cannot help")
    return {"source": {"path": str(PROJECT / sample)}}


def _drop_replaced_origin(data: dict[str, Any], changes: dict[str, Any]) -> None:
    """A text from elsewhere takes the declared one's place, the digests of that one too."""
    source = data.get("source")
    new = {name for name in ORIGINS if changes.get(f"source.{name}")}
    if isinstance(source, dict) and new and not any(source.get(name) for name in new):
        data["source"] = {name: value for name, value in source.items()
                          if name not in (*ORIGINS, "sha256")}


def _put(data: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        data[section] = dict(data.get(section) or {})
        data = data[section]
    data[last] = value


def _resolve_paths(path: Path, data: dict[str, Any]) -> None:
    """A path in a declaration is beside the declaration, whatever the working folder."""
    source = data.get("source")
    for name in ("path", "files"):
        if isinstance(source, dict) and isinstance(source.get(name), str):
            own = Path(source[name]).expanduser()
            data["source"] = source | {name: str(path.parent / own)}


def _validate(path: Path, places: dict[str, str], data: dict[str, Any]) -> Spec:
    try:
        return Spec.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UsageError(_describe(path, places, first)) from error


def _describe(path: Path, places: dict[str, str], error: dict[str, Any]) -> str:
    parts = [part for part in error["loc"] if isinstance(part, str)]
    if error["type"] not in ("extra_forbidden", "missing"):
        while len(parts) > 1 and ".".join(parts) not in places:
            parts.pop()  # pydantic adds the names of union members: not keys of the file
    key = ".".join(parts)
    where = places.get(key) or places.get(".".join(parts[:-1])) or str(path)
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key {key}{_nearest(parts[-1], _siblings(parts))}"
    if error["type"] == "missing":
        return f"{where}: {key} is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {key + ': ' if key else ''}{message[0].lower() + message[1:]}"


def _siblings(parts: list[str]) -> list[str]:
    model: type[BaseModel] = Spec
    for part in parts[:-1]:
        model = model.model_fields[part].annotation  # type: ignore[assignment]
    return [*model.model_fields, "profiles"] if model is Spec else list(model.model_fields)


def _nearest(wrong: str, known: list[str]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"
