"""Which of the project's modules a module's fingerprint holds."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from pipelines.stages import STAGES
from pipelines.store import fingerprint
from tests.conftest import PROJECT

SOURCE = '''\
"""Says: import pipelines."""
import pipelines.run.plan as decisions, json
from pipelines import errors, parallel as side  # noqa: F401
from pipelines.tokens.vocabulary import (
    PAD_ID,  # from pipelines.network.http_answers import nothing
    UNKNOWN_ID as unknown,
)
if True:
    from pipelines.batches.stage import build

def inside():
    from pipelines.model.network import build_model
    import pipelines.model.stage
    return "from pipelines.source.stage import build"
'''


def parsed(source: str) -> set[str]:
    """The same by Python's own parser."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return {
        name
        for name in names - fingerprint.CONTRACTS
        if name.startswith("pipelines.") and fingerprint._module_path(name).is_file()
    }


def test_imports_are_found_wherever_they_stand() -> None:
    assert (
        set(fingerprint._project_imports(SOURCE))
        == parsed(SOURCE)
        == {
            "pipelines.run.plan",
            "pipelines.parallel",
            "pipelines.tokens.vocabulary",
            "pipelines.batches.stage",
            "pipelines.model.network",
            "pipelines.model.stage",
        }
    )  # errors are a contract


@pytest.mark.parametrize("path", sorted(PROJECT.glob("pipelines/**/*.py")), ids=lambda p: p.stem)
def test_python_reads_the_same_imports(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert set(fingerprint._project_imports(source)) == parsed(source)


# What a changed file makes run again: whoever lengthens a list says why that shapes the bytes.
ROOMS = {
    "source": "files network source store",
    "corpus": "corpus parallel readers",
    "start": "start",
    "tokens": "files tokens",
    "batches": "batches files tokens",
    "model": "batches files model start",
    # `corpus` says whether a text is written with blanks, so that words can be counted.
    "mix": "batches counting files mix model stats",
    "metrics": "batches corpus counting declaration files metrics mix model parallel stats tokens",
    # `readers` clean what is asked of the package; `registry` and `store` tell what is registered
    # and what it was made of; the code of `serving` is in the package.
    "release": (
        "baselines batches corpus counting declaration files metrics mix mlflow_private model "
        "numpy_network parallel readers registry release serving stats store tokens tracking"
    ),
    "report": "baselines corpus declaration report stats store tokens",
}


def test_each_stage_reaches_these_rooms_and_no_others() -> None:
    reached = {
        stage.name: {
            Path(name).with_suffix("").parts[1]
            for name in fingerprint.code_fingerprint(stage.module, stage.files)
        }
        for stage in STAGES
    }
    assert reached == {stage: set(rooms.split()) for stage, rooms in ROOMS.items()}


def test_a_template_of_the_report_is_part_of_it() -> None:
    """Also one that another includes."""
    (report,) = (stage for stage in STAGES if stage.name == "report")
    folder = PROJECT / "pipelines" / "report" / "templates"
    included = {"report.html"}
    for name in ("report.html", "classes.html", "verdict.html", "drift.html", "cost.html"):
        included |= set(re.findall(r'include "([^"]+)"', (folder / name).read_text()))
    assert {Path(name).name for name in report.files} == included
