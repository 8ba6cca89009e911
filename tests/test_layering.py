"""folio → flows → tasks → pipelines, never back; rooms import along the arrows of one table."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from pipelines.stages import STAGES
from tests.conftest import PROJECT

# What only these modules may call, the first of which has it for all others.
ONE_PLACE = {
    "flock": ("pipelines.files.locks",),
    "get_close_matches": ("pipelines.errors",),  # did you mean
    # A temporary file, synced and renamed; a listing syncs what it lists, a journal is
    # only added to.
    "fsync": (
        "pipelines.files.whole_files",
        "pipelines.files.listing",
        "pipelines.registry.journal",
    ),
    # A time as text; a run's id begins with one, and `folio up` shows a clock.
    "strftime": ("pipelines.store.times", "pipelines.store.run_records", "flows.cli.up"),
    "isoformat": (),
    "str.splitlines": ("pipelines.errors",),  # the first line of an error
}
LAYERS = ("pipelines", "tasks", "flows", "folio")
MOST_MODULES, MOST_LINES = 14, 300
STAGE_MODULES = {stage.module for stage in STAGES}

# Who may import whom. docs/architecture.md draws it, without the arrows that follow from others.
ARROWS = {
    "errors": "",
    "parallel": "",
    "stats": "",
    "declaration": "errors files",
    "baselines": "declaration",
    "files": "errors",
    "network": "errors",
    "stages": "errors",
    "flows/web": "errors files network",
    "steps": "errors files parallel",
    "shared": "errors parallel files network",
    "store": "errors files network stages steps shared",
    "cluster": "errors files stages steps store",
    "readers": "errors parallel declaration store",
    "corpus": "errors declaration steps store readers",
    "inspection": "errors declaration files store readers corpus source tokens",
    "mlflow_private": "errors files",
    "registry": "mlflow_private errors files network stages store",
    "source": "errors declaration files network store",
    "tracking": "mlflow_private errors network registry store",
    "tokens": "errors declaration files steps store",
    "start": "declaration store",
    "batches": "errors declaration steps store tokens",
    "report": "errors stats declaration baselines stages store corpus tokens",
    "model": "batches declaration errors files parallel start store tokens",
    "counting": "errors store",
    "mix": "errors stats declaration files store batches model counting",
    "metrics": "errors stats declaration store corpus tokens batches model counting mix",
    "numpy_network": "errors declaration model",
    "serving": (
        "errors stats declaration files store readers registry tokens batches model numpy_network "
        "mix"
    ),
    "scoring": "errors declaration files readers registry serving store",
    "release": (
        "errors stats declaration baselines files store readers registry corpus tokens batches "
        "mix metrics serving tracking"
    ),
    "export": "errors files model registry serving store",
    "served_model": "serving",
    "run": (
        "errors declaration baselines files network stages store registry source report release "
        "tracking"
    ),
    "audit": "errors declaration files network stages store registry report serving run",
    "flows/display": "errors files registry store report run",
    "tasks": "errors files cluster store report scoring run",
    "upkeep": (
        "errors declaration files network stages shared store registry report model serving run"
    ),
    "flows": (
        "errors declaration files network stages cluster store registry scoring run flows/display "
        "tasks upkeep"
    ),
    "flows/serve": "errors flows/web registry report serving store",
    "flows/server": "errors files flows/web store tasks",
    "flows/services": (
        "errors declaration files network flows/web store registry report tracking tasks upkeep "
        "flows flows/server"
    ),
    "flows/doctor": (
        "errors declaration files network cluster flows/web store upkeep flows flows/server "
        "flows/services"
    ),
    "flows/cli": (
        "errors declaration files network stages cluster flows/web store registry report serving "
        "scoring run export tracking source inspection audit flows/display upkeep flows "
        "flows/serve flows/server flows/services flows/doctor"
    ),
    "folio": "errors declaration files store batches registry serving flows/cli",
}


@cache
def modules() -> dict[str, Path]:
    """{module: file} of the three layers, without the packages' `__init__`."""
    files = (path for layer in LAYERS for path in sorted((PROJECT / layer).rglob("*.py")))
    return {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts): path
        for path in files
        if path.name != "__init__.py"
    }


def room_of(module: str) -> str:
    """The folder of a module in `pipelines` or `flows`; its own name right under `pipelines`."""
    layer, *inner = module.split(".")
    if layer == "pipelines":
        return inner[0]
    return "/".join([layer, *inner[:1]]) if len(inner) > 1 else layer


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the module's whole name"
            found |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return found


@cache
def mentioned(path: Path) -> set[str]:
    """The last names of what a module calls or imports: `flock` for `fcntl.flock`; `str.splitlines`
    for the lines of `str(…)`."""
    nodes = list(ast.walk(tree(path)))
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    names = {node.attr for node in attributes}
    names |= {
        f"{node.value.func.id}.{node.attr}"
        for node in attributes
        if isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Name)
    }
    return names | {
        a.name for node in nodes if isinstance(node, ast.ImportFrom) for a in node.names
    }


@cache
def arrows() -> dict[str, set[str]]:
    """{room: the rooms that its modules import}, in functions and for types too."""
    found: dict[str, set[str]] = {}
    for module, path in modules().items():
        room = room_of(module)
        others = {room_of(name) for name in imports(path) & modules().keys()}
        found.setdefault(room, set()).update(others - {room})
    return found


@cache
def below(room: str) -> set[str]:
    """All that a room reaches by the table's arrows."""
    return {name for other in ARROWS[room].split() for name in {other} | below(other)}


def test_rooms_import_along_the_arrows_of_the_table() -> None:
    assert arrows() == {room: set(others.split()) for room, others in ARROWS.items()}


def test_no_arrow_closes_a_circle() -> None:
    placed: set[str] = set()
    while rest := ARROWS.keys() - placed:
        free = {room for room in rest if set(ARROWS[room].split()) <= placed}
        assert free, f"a circle among {sorted(rest)}"
        placed |= free


def test_the_architecture_page_draws_the_arrows_and_describes_each_room() -> None:
    page = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = {tuple(arrow) for arrow in re.findall(r"^    ([\w/]+) --> ([\w/]+)$", page, re.M)}
    needed = {
        (room, other)
        for room, others in ARROWS.items()
        for other in others.split()
        if not any(other in below(between) for between in others.split())
    }
    assert drawn == needed
    described = set(re.findall(r"^\*\*`(?:pipelines/)?([\w/]+?)(?:\.py|/)`\*\*", page, re.M))
    assert described == ARROWS.keys()


@pytest.mark.parametrize(
    ("layer", "forbidden"),
    [
        ("pipelines", {"prefect", "tasks", "flows", "folio"}),
        ("tasks", {"flows", "folio"}),
        ("flows", {"folio"}),
    ],
)
def test_no_layer_imports_one_above(layer: str, forbidden: set[str]) -> None:
    paths = [path for module, path in modules().items() if module.startswith(f"{layer}.")]
    assert paths
    for path in paths:
        wrong = {name for name in imports(path) if name.split(".")[0] in forbidden}
        assert not wrong, f"{path.relative_to(PROJECT)} imports {wrong}"


@pytest.mark.parametrize("name", ONE_PLACE)
def test_it_is_written_once(name: str) -> None:
    places = {module for module, path in modules().items() if name in mentioned(path)}
    assert places == set(ONE_PLACE[name]), f"{name} is called elsewhere: use what those have"


def test_no_stage_imports_another() -> None:
    for module in STAGE_MODULES:
        assert not imports(modules()[module]) & (STAGE_MODULES - {module}), module


def test_a_package_is_its_docstring() -> None:
    """The code fingerprint follows modules alone: code in an `__init__` would be overlooked."""
    layers = [layer for layer in LAYERS if layer != "folio"]  # no stage reaches that one
    packages = sorted(path for layer in layers for path in (PROJECT / layer).rglob("__init__.py"))
    assert len(packages) > 20
    for path in packages:
        body = tree(path).body
        assert len(body) == 1 and isinstance(body[0], ast.Expr), path.relative_to(PROJECT)


HEAVY = [
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "mlflow",
    "prefect",
    "matplotlib",
    "optuna",
    "polars",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
]
SPEC = "pipelines.declaration.spec"


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        ("--help", [*HEAVY, SPEC]),
        ("gc", [*HEAVY, SPEC]),
        ("models", [*HEAVY, SPEC]),
        ("list", HEAVY),
        ("plan imdb --profile quick", HEAVY),
        ("schema", HEAVY),
    ],
)
def test_light_commands_import_nothing_heavy(
    arguments: str, heavy: list[str], tmp_path: Path
) -> None:
    code = (
        "import contextlib, sys\n"
        "from flows.cli.main import main\n"
        "with contextlib.suppress(SystemExit): main()\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    # A server that another test has started would be asked, with Prefect's client.
    own = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments.split()],
        env=own | {"FOLIO_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT,
    )
    said, found = done.stdout.rstrip().rsplit("\n", 1)
    assert len(said) > 10 and found == "[]"


def test_rooms_and_modules_stay_small() -> None:
    folders: dict[Path, int] = {}
    for path in modules().values():
        folders[path.parent] = folders.get(path.parent, 0) + 1
        lines = path.read_text(encoding="utf-8").count("\n")
        assert lines <= MOST_LINES, f"{path.relative_to(PROJECT)} has {lines} lines; split it"
    crowded = {
        str(folder.relative_to(PROJECT)): count
        for folder, count in folders.items()
        if count > MOST_MODULES
    }
    assert not crowded, f"give these rooms rooms of their own: {crowded}"
