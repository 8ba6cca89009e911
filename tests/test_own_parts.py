"""What the architecture page says of Folio's own parts and of private parts of libraries is so."""

from __future__ import annotations

import ast
import re
from importlib import metadata
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.test_layering import mentioned, modules, tree

PAGE = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
OF_MLFLOW = "pipelines.mlflow_private."
# Names that nothing else has: of its tables, and of functions that are not public.
TABLES = re.compile(
    r"\b(alembic_version|model_versions|model_version_tags|registered_model_aliases|logged_models"
    r"|latest_metrics|experiment_tags)\b"
)
FUNCTIONS = {"_tracking_client", "_hard_delete_run", "_hard_delete_logged_model"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    section = PAGE.split(f"\n{heading}\n")[1]
    lines = re.search(r"(?:^\|.*\n)+", section, re.M)
    assert lines is not None
    return [
        [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split(" | ")]
        for line in lines[0].splitlines()[2:]
    ]


def places(cell: str) -> list[Path]:
    """The files and folders in a cell; a bare name stands beside the one before it."""
    found: list[Path] = []
    for name in re.findall(r"`([\w/.]+)`", cell):
        first = name.partition("/")[0]
        root = PROJECT if first in ("flows", "tasks", "tests") else PROJECT / "pipelines"
        found.append(root / name if "/" in name or not found else found[-1].with_name(name))
    return found


OWN, PRIVATE = (
    rows("## What Folio implements itself, and why"),
    rows("### Beyond a public interface"),
)


@pytest.mark.parametrize("row", OWN, ids=lambda row: row[0])
def test_a_part_of_its_own_is_where_the_page_says_and_has_a_reason(row: list[str]) -> None:
    what, where, library, why = row
    assert what and library and places(where)
    assert [path for path in places(where) if not path.exists()] == []
    assert why or library.startswith("none")


def test_the_page_has_the_large_parts() -> None:
    named = {path for row in OWN for path in places(row[1])}
    parts = ("store", "model/checkpoints.py", "readers/archives.py", "model/fast", "files/locks.py")
    assert {PROJECT / "pipelines" / part for part in parts} <= named


@pytest.mark.parametrize("row", PRIVATE, ids=lambda row: " ".join(row[:2])[:40])
def test_a_private_part_is_of_the_installed_version(row: list[str]) -> None:
    library, _, where, test = row
    name, version = library.split()
    assert metadata.version(name.lower()).startswith(f"{version}."), library
    (module,), (tested,) = places(where), places(test)
    assert module.is_file() and tested.is_file()


def reached(path: Path) -> set[str]:
    """The tables and private functions of MLflow that a module names outside its comments."""
    text = path.read_text(encoding="utf-8")
    if not TABLES.search(text) and not any(name in text for name in FUNCTIONS):
        return set()
    constants = (node.value for node in ast.walk(tree(path)) if isinstance(node, ast.Constant))
    strings = [value for value in constants if isinstance(value, str)]
    return {name for one in strings for name in TABLES.findall(one)} | mentioned(path) & FUNCTIONS


def test_no_other_module_reaches_behind_mlflow() -> None:
    found = {module: names for module, path in modules().items() if (names := reached(path))}
    inside = set().union(*(found.pop(name) for name in [*found] if name.startswith(OF_MLFLOW)))
    assert found == {}
    assert inside >= {*FUNCTIONS, "alembic_version", "model_versions", "latest_metrics"}
