"""Reads declarations: a catalog name or the path of a YAML file, a profile, and --set values."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.declaration.catalog import catalog_names, declaration_file, is_path, own_names
from pipelines.declaration.reading.declared import read_declaration
from pipelines.declaration.reading.invalid import nearest, validated
from pipelines.declaration.reading.sections import flat
from pipelines.declaration.reading.yaml_text import NotYamlError, parse
from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError, UsageError
from pipelines.files.home import SHIPPED
from pipelines.files.names import refuse_not_utf8

FULL = "full"
OWN_CODE = ("corpus.transform", "model.builder")
ORIGINS = ("url", "path", "files", "tfds")  # of source: only one of them at a time
# Fields of Spec that a declaration does not contain, and how they are set instead.
FIXED = {
    "profile": "choose a profile with --profile",
    "sample": "use the small sample with --allow-sample",
    "code_folder": "it is that of the declaration; remove it",
    "profiles": "profiles are read only from the declaration; change them there",
}
# What a profile cannot change.
NAMED = FIXED | {
    "name": "the file name is the pipeline's name; rename the file, or declare name: at its top"
}
# What a single run cannot change.
DECLARED = NAMED | {
    "schedule": "a schedule is read only from the declaration; change it there",
    "source.sample": "it is read only from the declaration; change it there",
    **dict.fromkeys(OWN_CODE, "code is named only in the declaration; change it there"),
}


def load_spec(
    pipeline: str, profile: str = FULL, overrides: tuple[str, ...] = (), sample: bool = False
) -> Spec:
    """The declaration of `pipeline` with profiles and `key=value` overrides applied, in order.

    `profile` is one, or several joined by +, such as quick+lines. With `sample`, the source is the
    declaration's small sample, and its profile `sample` is applied as well. Raises UsageError with
    file, line and key.
    """
    path = declaration_file(pipeline)
    data, places = read_declaration(path)
    _section_of_source(data)
    profiles = data.pop("profiles", None) or {}
    _refuse(FIXED, data, places)
    for name in (*profile.split("+"), *(["sample"] if sample else ())):
        chosen = flat(_profile(path, places, profiles, name), data)
        places |= {key: _place(places, f"profiles.{name}.{key}") for key in chosen}
        _refuse(NAMED, chosen, places)
        _apply(chosen, data, places)
    if sample:
        _apply(_sample_source(path, data), data, places)
    chosen = {}
    for key, value in map(_override, overrides):
        places |= dict.fromkeys(_keys(key, value), f"--set {key}")
        # A source is replaced whole: another text.
        new = {key: value} if key == "source" else flat({key: value}, data)
        chosen = {old: own for old, own in chosen.items() if old not in new} | new
    _refuse(DECLARED, chosen, places)
    _apply(chosen, data, places)
    _resolve_paths(path, data)
    data |= {"name": data.get("name", path.stem), "profile": profile, "sample": sample}
    if any(_lookup(data, key) for key in OWN_CODE):
        data["code_folder"] = str(path.parent)
    spec = validated(path, places, data)
    if not is_path(pipeline) and pipeline != spec.name:
        raise UsageError(
            f"{path}: is named {spec.name} now, but was added to the catalog as {pipeline}; run: "
            f"folio remove {pipeline}, then: folio add {path}"
        )
    return spec


def _lookup(data: dict[str, Any], dotted: str) -> Any:
    section, _, key = dotted.partition(".")
    own = data.get(section)
    return own.get(key) if isinstance(own, dict) else None


def _place(places: dict[str, str], key: str) -> str:
    """Where a key is written, or what contains it."""
    while key not in places:
        key = key.rpartition(".")[0]
    return places[key]


def has_sample(pipeline: str) -> bool:
    data, _ = read_declaration(declaration_file(pipeline))
    return bool(_source(data).get("sample"))


def absolute(pipeline: str) -> str:
    """A name of Folio's catalog unchanged; else the declaration's absolute path, which works from
    any folder, and after the pipeline has left the home's catalog."""
    if is_path(pipeline):
        return str(Path(pipeline).resolve())
    return str(declaration_file(pipeline)) if pipeline in own_names() else pipeline


def profile_names(pipeline: str) -> list[str]:
    """full, and those that are declared."""
    profiles = read_declaration(declaration_file(pipeline))[0].get("profiles")
    return list(dict.fromkeys([FULL, *(profiles if isinstance(profiles, dict) else ())]))


def profile_keys(pipeline: str) -> dict[str, set[str]]:
    """{profile: the dotted keys that it sets}; full has those outside of the profiles too."""
    data, _ = read_declaration(declaration_file(pipeline))
    _section_of_source(data)
    profiles = data.pop("profiles", None) or {}
    declared = profiles if isinstance(profiles, dict) else {}
    found = {name: set(flat(changes or {}, data)) for name, changes in declared.items()}
    return {FULL: set(), **found} | {FULL: found.get(FULL, set()) | set(flat(data, {}))}


def load_catalog() -> tuple[dict[str, Spec], dict[str, str]]:
    """{name: declaration} of the pipelines in both catalogs, and {name: what is wrong} of those
    whose files are not valid: one does not hide the others."""
    specs, wrong = {}, {}
    for name in catalog_names():
        try:
            specs[name] = load_spec(name)
            if schedule := specs[name].schedule:
                load_spec(name, schedule.profile)
        except FolioError as error:
            specs.pop(name, None)
            wrong[name] = str(error)
    return specs, wrong


def _section_of_source(data: dict[str, Any]) -> None:
    """A source may be only its address or path."""
    source = data.get("source")
    if source and isinstance(source, str):
        data["source"] = {"url" if "://" in source else "path": source}


def _source(data: dict[str, Any]) -> dict[str, Any]:
    source = data.get("source")
    return source if isinstance(source, dict) else {}


def _refuse(keys: dict[str, str], given: dict[str, Any], places: dict[str, str]) -> None:
    """Nothing is ignored silently."""
    for key in given:
        if how := keys.get(key) or keys.get(key.partition(".")[0]):
            raise UsageError(f"{places[key]}: {how}")


def _profile(path: Path, places: dict[str, str], profiles: Any, name: str) -> dict[str, Any]:
    if not isinstance(profiles, dict):
        raise UsageError(f"{places['profiles']}: profiles maps a name to key: value pairs")
    if name in profiles:
        changes = profiles[name] or {}
        if not isinstance(changes, dict):
            raise UsageError(
                f"{places[f'profiles.{name}']}: a profile maps keys to values, "
                "such as training.epochs: 1"
            )
        _section_of_source(changes)
        return changes
    if name in (FULL, "sample"):
        return {}
    known = list(dict.fromkeys([FULL, *(n for n in profiles if n != "sample")]))
    raise UsageError(
        f"{path}: no profile {name!r}{nearest(name, known)}; known: {', '.join(known)}"
    )


def _override(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UsageError(f"--set {text}: write key=value, such as training.epochs=2")
    _section_of_source(chosen := {key: value_of(value, f"--set {key}")})
    return _of_working_folder(key, chosen[key])


def _keys(key: str, value: Any) -> Iterator[str]:
    """The key, and those in its value, dotted."""
    yield key
    for name, inner in value.items() if isinstance(value, dict) else ():
        yield from _keys(f"{key}.{name}", inner)


def value_of(text: str, place: str) -> Any:
    """What a value on the command line says, in YAML; `place` is named where it is none."""
    try:
        return parse(text)[0]
    except NotYamlError as error:
        raise UsageError(f"{place}: the value is not valid YAML: {error}") from error


def _of_working_folder(key: str, value: Any) -> tuple[str, Any]:
    """A path on the command line is relative to the working directory, not to the declaration."""
    if key in ("source.path", "source.files") and isinstance(value, str):
        value = str(_own(value, f"--set {key}").absolute())
    elif key == "source" and isinstance(value, dict):
        value = {name: _of_working_folder(f"source.{name}", own)[1] for name, own in value.items()}
    return key, value


def _own(path: str, place: str) -> Path:
    """With ~ expanded to the user's folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{place}: {path}: no such user") from error


def _sample_source(path: Path, data: dict[str, Any]) -> dict[str, Any]:
    sample = _source(data).get("sample")
    if not sample or not isinstance(sample, str):
        raise UsageError(f"{path}: declares no source.sample, so --allow-sample has no effect")
    return {"source": {"path": str(SHIPPED / sample)}}


def _drop_replaced_origin(data: dict[str, Any], changes: dict[str, Any]) -> None:
    """Another text replaces the declared one, including its digests."""
    source = data.get("source")
    new = {name for name in ORIGINS if changes.get(f"source.{name}")}
    if isinstance(source, dict) and new and not any(source.get(name) for name in new):
        data["source"] = {
            name: value for name, value in source.items() if name not in (*ORIGINS, "sha256")
        }


def _apply(changes: dict[str, Any], data: dict[str, Any], places: dict[str, str]) -> None:
    _drop_replaced_origin(data, changes)
    for key, value in changes.items():
        _put(data, key, value, places)


def _put(data: dict[str, Any], dotted: str, value: Any, places: dict[str, str]) -> None:
    *sections, last = dotted.split(".")
    for section in sections:
        inner = data.get(section) or {}
        if not isinstance(inner, dict):
            raise UsageError(f"{places[dotted]}: unknown key {dotted}: {section} is a single value")
        data[section] = dict(inner)
        data = data[section]
    data[last] = value


def _resolve_paths(path: Path, data: dict[str, Any]) -> None:
    """A path in a declaration is relative to the declaration, whatever the working directory."""
    source = _source(data)
    for name in ("path", "files"):
        if isinstance(source.get(name), str):
            own = path.parent / _own(source[name], f"{path}: source.{name}")
            refuse_not_utf8(own, f"source.{name}")
            data["source"] = source = source | {name: str(own)}
