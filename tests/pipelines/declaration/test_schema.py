"""The schema that editors use: it knows each key, says what it does, and flags what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from pipelines.declaration.catalog import CATALOG
from pipelines.declaration.load import FIXED, load_spec
from pipelines.declaration.schema import key_table
from pipelines.declaration.schema.json_schema import SEARCHED, Schema, example_of, schema
from pipelines.declaration.schema.key_help import EXAMPLES, UNITS
from pipelines.declaration.section_base import Section, section_under
from pipelines.declaration.spec import Spec
from pipelines.declaration.tune_section import TuneSpec
from tests import conftest

SCHEMA = schema()
VALIDATOR = Draft202012Validator(SCHEMA)
AGAIN = "the keys have changed: python -m pipelines.declaration.schema.key_table"
IMDB = yaml.safe_load((CATALOG / "imdb.yaml").read_text(encoding="utf-8"))


def fields(model: type[Section] = Spec, prefix: str = "") -> Iterator[tuple[str, type[Section]]]:
    """(dotted key, the section that it is in), as the typed declaration has them."""
    for name in model.model_fields:
        if f"{prefix}{name}" not in FIXED:
            yield f"{prefix}{name}", model
        if inner := section_under(model, name):
            yield from fields(inner, f"{prefix}{name}.")


KEYS = dict(fields()) | {f"{SEARCHED}.{name}": TuneSpec for name in TuneSpec.model_fields}
SINGLE = [key for key in KEYS if not section_under(KEYS[key], key.rpartition(".")[2])]


def own_schema(key: str) -> Schema:
    model, name = KEYS[key], key.rpartition(".")[2]
    section = SCHEMA if model is Spec else SCHEMA["$defs"][model.__name__]
    return section["properties"][name]


def wrong(declaration: Any) -> list[str]:
    return sorted(error.json_path for error in VALIDATOR.iter_errors(declaration))


# It is complete


def test_the_files_made_from_it_are_those_of_the_current_keys() -> None:
    assert key_table.FILE.read_text(encoding="utf-8") == key_table.text_of(SCHEMA), AGAIN
    page = key_table.PAGE.read_text(encoding="utf-8")
    assert key_table.shown_in(page) == key_table.table(SCHEMA), AGAIN


def test_the_table_has_every_key_once() -> None:
    listed = re.findall(r"^\| `([\w.]+)` \|", key_table.table(SCHEMA), re.MULTILINE)
    sections = {key for key in KEYS if "." not in key and section_under(Spec, key)}
    assert len(listed) == len(set(listed)) > 90
    assert set(listed) == {*KEYS, "profiles", "source.files"} - sections


@pytest.mark.parametrize("key", SINGLE)
def test_each_key_has_a_description_and_an_example_that_is_valid(key: str) -> None:
    own, name = own_schema(key), key.rpartition(".")[2]
    assert len(own["description"]) > 7, f"{key}: say in its Field what it does"
    example = example_of(key, own)
    assert example is not None, f"{key}: add an example to EXAMPLES in schema/key_help.py"
    assert own["examples"] == [example] and example != own.get("default")
    assert not list(VALIDATOR.evolve(schema=own | {"$defs": SCHEMA["$defs"]}).iter_errors(example))
    try:
        KEYS[key].model_validate({name: example})
    except ValidationError as error:
        assert not [one for one in error.errors() if one["loc"][:1] == (name,)], error


@pytest.mark.parametrize("key", SINGLE)
def test_each_number_has_a_unit_or_none(key: str) -> None:
    number = re.search(r'"type": "(integer|number)"', json.dumps(own_schema(key)))
    assert not number or key in UNITS, f"{key}: add its unit to UNITS in schema/key_help.py"


def test_no_unit_and_no_example_is_of_a_key_that_is_gone() -> None:
    assert {*UNITS, *EXAMPLES} - {*KEYS, "profiles", "source.files"} == set()


def test_a_default_is_shown_unless_the_key_is_required() -> None:
    for key in SINGLE:
        field = KEYS[key].model_fields[key.rpartition(".")[2]]
        assert field.is_required() or "default" in own_schema(key) or field.default == {}, key


# It accepts what is right


@pytest.mark.parametrize("path", sorted(CATALOG.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_names_it_and_is_valid(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    first = text.partition("\n")[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert path.parent / first.partition("=")[2] == key_table.FILE
    assert wrong(yaml.safe_load(text)) == []


@pytest.mark.parametrize("name", ["REVIEWS", "PLAY", "NEXT_WORD", "JAPANESE"])
def test_the_declarations_of_the_tests_are_valid(name: str) -> None:
    assert wrong(yaml.safe_load(getattr(conftest, name).format(samples="here"))) == []


def test_the_declarations_on_the_pages_are_valid() -> None:
    pages = [conftest.PROJECT / "README.md", *(conftest.PROJECT / "docs").glob("*.md")]
    blocks = [
        block
        for page in pages
        for block in re.findall(
            r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S
        )
        if "\nmodel: " in block and "\nregistry: " in block
    ]
    assert len(blocks) >= 2
    for block in blocks:
        declared = {"tokens": {"kind": "char"}} | yaml.safe_load(block)
        assert wrong(declared) == [], block


def test_profiles_take_dotted_keys_sections_and_null(tmp_path: Path) -> None:
    quick = {
        "training.epochs": 1,
        "batches": {"batch_size": 8},
        "model": {"units": [3], "dropout": {"word": 0.1}},
        "corpus.group": None,
    }
    later = {"model.start_from.version": 2, "model": {"start_from": {"pipeline": "other"}}}
    declared = IMDB | {"profiles": {"quick": quick, "later": later, "nothing": None}}
    assert wrong(declared) == []
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(declared), encoding="utf-8")
    for profile in declared["profiles"]:
        load_spec(str(path), profile)


# It flags what is wrong


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("sorce", {"path": "x"}, "$"),
        ("name", "My own", "$.name"),
        ("training", {"epoch": 3}, "$.training"),
        ("training", {"epochs": 0}, "$.training.epochs"),
        ("training", {"epochs": "many"}, "$.training.epochs"),
        ("training", {"optimizer": "adm"}, "$.training.optimizer"),
        ("training", {"learning_rate": True}, "$.training.learning_rate"),
        ("schedule", {"timezone": "UTC"}, "$.schedule"),
        ("training.epochs", 3, "$"),
        ("registry", {"floor": 0.8}, "$.registry"),
        ("profiles", {"quick": {"training.epoch": 1}}, "$.profiles.quick"),
        ("profiles", {"quick": {"training": {"epoch": 1}}}, "$.profiles.quick.training"),
        ("profiles", {"quick": {"training.epochs": 0}}, "$.profiles.quick['training.epochs']"),
        ("profiles", {"quick": {"name": "other"}}, "$.profiles.quick"),
        ("grids", {"cells": {"model.cel": ["lstm"]}}, "$.grids.cells"),
        ("grids", {"cells": {"model.cell": ["lstn"]}}, "$.grids.cells['model.cell'][0]"),
        ("grids", {"cells": {"model.cell": "lstm"}}, "$.grids.cells['model.cell']"),
        ("tune", {"training.epoch": [1, 2]}, "$.tune"),
        ("tune", {"corpus.test": [0.1, 0.2]}, "$.tune"),
        ("tune", {"training.epochs": {"lo": 1}}, "$.tune['training.epochs']"),
        ("tune", {"training.epochs": [1, 0]}, "$.tune['training.epochs']"),
    ],
)
def test_a_wrong_key_or_value_is_flagged_where_it_is(key: str, value: Any, path: str) -> None:
    assert wrong(IMDB) == []
    assert wrong(IMDB | {key: value}) == [path]


def test_no_section_accepts_an_unknown_key() -> None:
    for name, section in SCHEMA["$defs"].items():
        assert section["additionalProperties"] is False, name
    assert SCHEMA["additionalProperties"] is False
    Draft202012Validator.check_schema(SCHEMA)
