"""The JSON schema of a declaration, for editors: made from the typed declaration, with a unit and
an example for each key, and with profiles, grids and search spaces, whose keys are dotted.

It describes keys and their values. Rules between several keys are checked only when Folio reads
the declaration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices

from pipelines.declaration.load import DECLARED, FIXED, NAMED
from pipelines.declaration.schema.key_help import EXAMPLES, UNITS
from pipelines.declaration.section_base import Section, section_under
from pipelines.declaration.spec import Spec
from pipelines.declaration.tune_section import TUNABLE, TuneSpec

Schema = dict[str, Any]
Places = dict[str, tuple[str, Schema]]  # {dotted key: (the pointer to its schema, the schema)}
DEFINITIONS = "#/$defs/"
SEARCHED = "tune.KEY"  # the values of any key of a search space, in UNITS and EXAMPLES
CHANGES = "Changes"  # ends the name of a section's definition for profiles: no key is required


def schema() -> Schema:
    """The schema of a declaration in YAML."""
    root = Spec.model_json_schema()
    sections: dict[str, Schema] = root["$defs"]
    root["properties"] = {key: own for key, own in root["properties"].items() if key not in FIXED}
    places = _places(Spec, root, sections)
    searched = sections[TuneSpec.__name__]["properties"]
    keys = {key: own for key, (_, own) in places.items()}
    for key, own in (keys | {f"{SEARCHED}.{name}": own for name, own in searched.items()}).items():
        _complete(key, own)
    for section in sections.values():
        section["description"] = " ".join(section["description"].split())
        section.pop("title")
    top = root["properties"]
    top["grids"] |= _grids(places)
    top["tune"] |= _tune(places)
    top["profiles"] = _profiles()
    address = {"type": "string", "description": "its path or url alone"}
    top["source"] = {"anyOf": [top["source"], address]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A pipeline of Folio",
        **_object(top),
        "required": [key for key in root["required"] if key in top and key != "name"],
        "$defs": sections | _changes(sections) | {"Profile": _profile(places)},
    }


def _places(
    model: type[Section],
    section: Schema,
    sections: Mapping[str, Schema],
    prefix: str = "",
    at: str = "#",
) -> Places:
    """The places of a section's keys and of those below; other names of a key are added to it."""
    found: Places = {}
    section["properties"] = _with_other_names(model, section["properties"])
    for name, own in section["properties"].items():
        found[f"{prefix}{name}"] = (f"{at}/properties/{name}", own)
        if inner := section_under(model, name):
            title = inner.__name__
            below = f"{prefix}{name}.", f"{DEFINITIONS}{title}"
            found |= _places(inner, sections[title], sections, *below)
    return found


def _with_other_names(model: type[Section], properties: Schema) -> Schema:
    named: Schema = {}
    for name, own in properties.items():
        named[name] = own
        alias = model.model_fields[name].validation_alias
        for other in alias.choices if isinstance(alias, AliasChoices) else ():
            named.setdefault(str(other), own | {"description": f"another name of {name}"})
    return named


def _complete(key: str, own: Schema) -> None:
    """Adds what a reader of the key wants to know, and removes what only Pydantic uses."""
    own.pop("title", None)
    own.pop("operational", None)
    if isinstance(own.get("default"), dict):
        own.pop("default")  # of a section: each of its keys has a default
    if unit := UNITS.get(key):
        own["unit"] = unit
        if unit not in own["description"]:
            own["description"] += f"; unit: {unit}"
    if (example := example_of(key, own)) is not None:
        own["examples"] = [example]


def example_of(key: str, own: Schema) -> Any:
    """The given example, or of a few values the first one that is not the default."""
    few = [value for one in (own, *own.get("anyOf", ())) for value in _few(one)]
    return EXAMPLES.get(key, next((value for value in few if value != own.get("default")), None))


def _few(own: Schema) -> list[Any]:
    if own.get("type") == "boolean":
        return [True, False]
    return own.get("enum", [own["const"]] if "const" in own else [])


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _grids(places: Places) -> Schema:
    """The values to try for keys that a single run can change."""
    fixed = {*DECLARED, "grids", "tune"}
    lists = {
        key: {"type": "array", "minItems": 1, "items": {"$ref": pointer}}
        for key, (pointer, _) in places.items()
        if not {key, key.partition(".")[0]} & fixed and not section_under(Spec, key)
    }
    return {"additionalProperties": _object(lists)}


def _tune(places: Places) -> Schema:
    """A range, or choices, for each key that can be tuned."""
    return _object(
        {
            key: _searched(pointer)
            for key, (pointer, _) in places.items()
            if "." in key and key.partition(".")[0] in TUNABLE
        }
    )


def _searched(pointer: str) -> Schema:
    choices = {"type": "array", "minItems": 2, "maxItems": 1000, "items": {"$ref": pointer}}
    return {"anyOf": [{"$ref": f"{DEFINITIONS}{TuneSpec.__name__}"}, choices]}


def _profiles() -> Schema:
    return {
        "description": "named sets of changes: {name: {dotted key: value}}, or sections with the "
        "keys that change",
        "examples": [EXAMPLES["profiles"]],
        "type": "object",
        "additionalProperties": {"$ref": f"{DEFINITIONS}Profile"},
    }


def _profile(places: Places) -> Schema:
    changed = _object({key: _changed(*place) for key, place in places.items() if key not in NAMED})
    return changed | {"type": ["object", "null"]}


def _changes(sections: Mapping[str, Schema]) -> Schema:
    """The sections as a profile may give them: only the keys that change."""
    return {
        f"{name}{CHANGES}": _object(
            {
                key: _changed(f"{DEFINITIONS}{name}/properties/{key}", own)
                for key, own in section["properties"].items()
            }
        )
        for name, section in sections.items()
        if name != TuneSpec.__name__
    }


def _changed(pointer: str, own: Schema) -> Schema:
    """The schema of a key in a profile: its own, unless sections are below."""
    changed = _to_changes(own)
    return {"$ref": pointer} if changed == own else changed


def _to_changes(node: Any) -> Any:
    """With each reference to a section leading to its definition for profiles."""
    if isinstance(node, list):
        return [_to_changes(one) for one in node]
    if not isinstance(node, dict):
        return node
    target = node.get("$ref", "")
    if target.startswith(DEFINITIONS) and "/" not in target.removeprefix(DEFINITIONS):
        return node | {"$ref": f"{target}{CHANGES}"}
    return {key: _to_changes(own) for key, own in node.items()}
