"""What the sections of a declaration have in common."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

MOST = 10**9  # for counts that must be positive
MOST_LABELS = 1000
LONGEST = 1_000_000  # tokens that are read, sampled or remembered at once
Tokens = Annotated[PositiveInt, Field(le=LONGEST)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


OneOrMany = Annotated[
    tuple[str, ...], BeforeValidator(_as_tuple, json_schema_input_type=str | tuple[str, ...])
]

# Codecs of Python that are no encodings of files.
NO_ENCODINGS = ("idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7")


def known_encoding(name: str) -> str:
    """The name by which Python knows it, so that cp1252 and windows-1252 are one."""
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        found = None
    if not found or not found._is_text_encoding or found.name in NO_ENCODINGS:
        raise ValueError(f"unknown encoding {name!r}; write one such as cp1252 or shift_jis")
    return found.name


def one_character(mark: str) -> str:
    if len(mark) != 1 or mark in '"\r\n':
        raise ValueError(f'give one character, such as ";" or "\\t", not {mark!r}')
    return mark


Encoding = Annotated[str, AfterValidator(known_encoding)]
Delimiter = Annotated[str, AfterValidator(one_character)]


def _distinct(value: Any) -> Any:
    """Labels as text; numbers as YAML reads them."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"give a list of labels, not {value!r}")
    if any(isinstance(label, bool) for label in value):
        raise ValueError(
            "YAML reads yes, no, true and false as truth values; put them in quotation marks"
        )
    if not 2 <= len(value) <= MOST_LABELS:
        raise ValueError(f"a classifier has 2 to {MOST_LABELS:,} labels, not {len(value):,}")
    labels = [str(label) if isinstance(label, int | float) else label for label in value]
    if all(isinstance(label, str) for label in labels):
        labels = [unicodedata.normalize("NFC", label.strip()) for label in labels]
        label, number = Counter(labels).most_common(1)[0]
        if number > 1:
            raise ValueError(f"the label {label!r} is given twice")
    return labels


Labels = Annotated[
    tuple[str, ...], Field(min_length=2, max_length=MOST_LABELS), BeforeValidator(_distinct)
]
FUNCTION = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def _as_function(value: str) -> str:
    if not FUNCTION.fullmatch(value):
        raise ValueError(f"write mypackage.module:function, not {value!r}")
    return value


Function = Annotated[str, AfterValidator(_as_function)]  # of the user's own code

# Marks a value that affects how a stage works but not its bytes: it is in no key.
OPERATIONAL: dict[str, JsonValue] = {"operational": True}


class Section(BaseModel):
    """Every number in a declaration is finite and has bounds, which the schema shows."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_number_is_a_truth(cls, value: Any, info: ValidationInfo) -> Any:
        """Python accepts true as 1; and -0.0, which equals 0.0, would give another key."""
        assert info.field_name, "this validates fields"
        kinds = set(_kinds(cls.model_fields[info.field_name].annotation))
        if isinstance(value, dict) and any(isinstance(kind, type(Section)) for kind in kinds):
            return value  # a section checks its own numbers
        return _numbers_alone(value) if kinds & {int, float} and bool not in kinds else value


def section_under(model: type[Section], key: str) -> type[Section] | None:
    """The section that may be declared under a key of another, if any."""
    field = model.model_fields.get(key)
    kind = field.annotation if field else None
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return next((one for one in members if isinstance(one, type(Section))), None)


def _kinds(annotation: Any) -> Iterator[Any]:
    """A type and its components."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


def _numbers_alone(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("input should not be true or false")
    if isinstance(value, list | tuple):
        return tuple(map(_numbers_alone, value))
    if isinstance(value, dict):
        return {key: _numbers_alone(own) for key, own in value.items()}
    return value + 0.0 if isinstance(value, float) else value
