"""Which of the project's modules a module's fingerprint holds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipelines import fingerprint
from tests.conftest import PROJECT

SOURCE = '''\
"""Says: import pipelines."""
import pipelines.plan as decisions, json
from pipelines import store, disk as disks  # noqa: F401
from pipelines.vocabulary import (
    PAD_ID,  # from pipelines.web import nothing
    UNKNOWN_ID as unknown,
)
if True:
    from pipelines.batches import build

def inside():
    from pipelines.models import build_model
    import pipelines.training
    return "from pipelines.sources import build"
'''


def parsed(source: str) -> set[str]:
    """The same by Python's own parser."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {name for name in names - fingerprint.CONTRACTS
            if name.startswith("pipelines.") and fingerprint._module_path(name).is_file()}


def test_imports_are_found_wherever_they_stand() -> None:
    assert set(fingerprint._project_imports(SOURCE)) == parsed(SOURCE) == {
        "pipelines.plan", "pipelines.disk", "pipelines.vocabulary", "pipelines.batches",
        "pipelines.models", "pipelines.training"}  # the store is a contract


@pytest.mark.parametrize("path", sorted(PROJECT.glob("pipelines/*.py")), ids=lambda p: p.stem)
def test_python_reads_the_same_imports(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert set(fingerprint._project_imports(source)) == parsed(source)
