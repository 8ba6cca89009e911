"""flows → tasks → pipelines, never back; stages meet through artifacts alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.stages import STAGES
from tests.conftest import PROJECT

FORBIDDEN = {"pipelines": {"prefect", "tasks", "flows"}, "tasks": {"flows"}}
STAGE_MODULES = {stage.module for stage in STAGES}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; say the module's whole name"
            found |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return found


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_layer_imports_one_above(folder: str) -> None:
    paths = sorted((PROJECT / folder).rglob("*.py"))
    assert paths
    for path in paths:
        wrong = {name for name in imports(path) if name.split(".")[0] in FORBIDDEN[folder]}
        assert not wrong, f"{path.relative_to(PROJECT)} imports {wrong}"


def test_no_stage_imports_another() -> None:
    for module in STAGE_MODULES:
        path = PROJECT.joinpath(*module.split(".")).with_suffix(".py")
        assert not imports(path) & (STAGE_MODULES - {module}), path


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, flows.cli.main; print([m for m in ('keras', 'tensorflow', 'jax', 'torch', "
        "'mlflow', 'prefect', 'matplotlib', 'polars', 'pandas', 'pyarrow') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    assert done.stdout.strip() == "[]"
