"""What is wrong with a declaration, in one line with file, line, key and remedy."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipelines.declaration.spec import Spec
from pipelines.errors import UsageError, did_you_mean

LATER = ("profile", "sample", "code_folder")  # fields of Spec that no declaration contains


def validated(path: Path, places: dict[str, str], data: dict[str, Any]) -> Spec:
    """The declaration. Raises UsageError with file, line and key."""
    try:
        return Spec.model_validate(data)
    except ValidationError as error:
        first, *others = error.errors(include_url=False)
        named = [  # what a number may be instead, such as best
            one["ctx"]["expected"]
            for one in others
            if one["type"] == "literal_error" and one["loc"][:-1] == first["loc"][:-1]
        ]
        described = _describe(path, places, first)
        raise UsageError(" or ".join([described, *named])) from error


def _describe(path: Path, places: dict[str, str], error: ErrorDetails) -> str:
    parts = [part for part in error["loc"] if isinstance(part, str)]
    if error["type"] not in ("extra_forbidden", "missing"):
        while len(parts) > 1 and ".".join(parts) not in places:
            parts.pop()  # pydantic adds the names of union members: not keys of the file
    key = ".".join(parts)
    if key == "name":
        return _wrong_name(path, places, error["input"])
    where = places.get(key) or places.get(".".join(parts[:-1])) or str(path)
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key {key}{nearest(parts[-1], _siblings(parts))}"
    if error["type"] == "missing":
        return f"{where}: {key} is missing"
    message = error["msg"].removeprefix("Value error, ")
    return f"{where}: {key + ': ' if key else ''}{message[0].lower() + message[1:]}"


def _wrong_name(path: Path, places: dict[str, str], name: Any) -> str:
    better = slug(str(name))
    allowed = "lower case letters, digits, - and _, at most 64"
    if "name" in places:
        return f"{places['name']}: name: use {allowed}, such as {better}"
    return (
        f"{path}: the file name is the pipeline's name; rename the file: {allowed}, such as "
        f"{better}{path.suffix}; or declare `name: {better}`"
    )


def slug(text: str) -> str:
    """A name that a pipeline may have, as close to the text as possible."""
    latin = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9_-]+", "-", latin)[:64].strip("-_") or "my-texts"


def _siblings(parts: list[str]) -> list[str]:
    model: type[BaseModel] = Spec
    for part in parts[:-1]:
        if part not in model.model_fields:  # the name of an entry, in a mapping of sections
            continue
        kind = model.model_fields[part].annotation
        model = next(one for one in (kind, *get_args(kind)) if hasattr(one, "model_fields"))
    known = [name for name in model.model_fields if model is not Spec or name not in LATER]
    return [*known, "profiles"] if model is Spec else known


def nearest(wrong: str, known: list[str]) -> str:
    return did_you_mean(wrong, known) or f"; known: {', '.join(known)}"
