"""The form of a deployment on Prefect's page: the parameters of its flow, as one pipeline has them.

Prefect checks it before a run exists. `prefect deploy` knows only the form of the flow's signature,
which is the same for all pipelines; Folio deploys with this one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import cache
from importlib import import_module
from typing import Any

from prefect.utilities.callables import parameter_schema

from pipelines.declaration.load import profile_keys
from pipelines.stages import STAGES

Property = dict[str, Any]
CALLED = {"overrides": "set", "since": "from"}  # as in the command line; the rest has the same name
STAGE_FIELDS = ("only", "since", "until", "stage")


def form(entrypoint: str, pipeline: str | None) -> dict[str, Any]:
    """The JSON schema of the parameters. That of a pipeline offers its own profiles and stages."""
    schema = deepcopy(flow_form(entrypoint))
    if pipeline is None:
        return schema
    profiles = profile_keys(pipeline)
    properties = {
        name: {**_plain(found), "title": CALLED.get(name, name.replace("_", "-"))}
        for name, found in schema["properties"].items()
        if name != "pipeline"  # a parameter of the deployment
    }
    if found := properties.get("profile"):
        kept = ("title", "description", "position")
        properties["profile"] = {name: found[name] for name in kept} | _profiles(list(profiles))
    for name in STAGE_FIELDS:
        if name in properties:
            properties[name]["enum"] = _stages(profiles)
    required = [name for name in schema.get("required", ()) if name != "pipeline"]
    return {**schema, "properties": properties, "required": required}


@cache
def flow_form(entrypoint: str) -> dict[str, Any]:
    """The form of a flow's signature, as it is in JSON."""
    module, _, name = entrypoint.rpartition(".")
    made = parameter_schema(getattr(import_module(module), name)).model_dump_for_openapi()
    return json.loads(json.dumps(made))


def _stages(profiles: Mapping[str, Iterable[str]]) -> list[str]:
    """Those that the pipeline has in any of its profiles."""
    keys = {f"{key}." for found in profiles.values() for key in found}
    return [
        stage.name
        for stage in STAGES
        if stage.when is None or any(key.startswith(f"{stage.when}.") for key in keys)
    ]


def _plain(found: Mapping[str, Any]) -> Property:
    """Prefect's page asks which kind of value to enter if there are several; a field that may be
    left empty needs no null."""
    kinds = [kind for kind in found.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) != 1 or found.get("default") is not None:
        return dict(found)
    own = {name: value for name, value in found.items() if name not in ("anyOf", "default")}
    return {**kinds[0], **own}


def _profiles(declared: list[str]) -> Property:
    """One of the declared, or several joined by +; `sample` goes with the small sample text."""
    names = [name for name in declared if name != "sample"]
    one = f"({'|'.join(map(re.escape, names))})"
    return {
        "anyOf": [
            {"title": "declared", "type": "string", "enum": names},
            {"title": "combined", "type": "string", "pattern": rf"^{one}(\+{one})+$"},
        ]
    }
