"""What determines a stage's bytes besides its inputs: its code and the libraries it uses."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import metadata
from pathlib import Path

from pipelines.files.digests import digest_file
from pipelines.files.home import PROJECT

# Their entire effect on a stage is in its configuration and inputs, which are in the key already,
# or in messages, or in where and when its files are written.
CONTRACTS = {
    "pipelines.declaration.spec",
    "pipelines.declaration.section_base",
    "pipelines.declaration.label_checks",
    "pipelines.declaration.data_sections",
    "pipelines.declaration.evaluation_section",
    "pipelines.declaration.model_sections",
    "pipelines.declaration.training_section",
    "pipelines.steps.here",
    "pipelines.steps.step",
    "pipelines.store.artifacts",
    "pipelines.store.own_code",
    "pipelines.store.processor",
    "pipelines.errors",
    "pipelines.stages",
    "pipelines.network.addresses",
    "pipelines.files.home",
    "pipelines.files.machine",
}
# Far faster than parsing, and CPython 3.11 cannot parse in two threads (python/cpython#106905).
IMPORT = re.compile(
    r"^[ \t]*(?:from +(pipelines[\w.]*) +import +(\([^)]*\)|[^\n]*)"
    r"|import +(pipelines\.[\w.]+))",
    re.MULTILINE,
)
COMMENT = re.compile(r"#.*")


def code_fingerprint(module: str, files: tuple[str, ...] = ()) -> dict[str, str]:
    """{project file: digest} of a module, of all project modules that it imports, and of
    `files`."""
    found = {*files, *_reached(module, _project_imports)}
    return {name: digest_file(PROJECT / name) for name in sorted(found)}


def code_of(module: str) -> list[str]:
    """The project files of a module and of everything that it imports, with their packages."""
    found = _reached(module, _imports)
    packages = {f"{folder}/__init__.py" for name in found for folder in Path(name).parents[:-1]}
    return sorted({*found, *packages})


def _reached(module: str, imports: Callable[[str], frozenset[str]]) -> set[str]:
    """The files of a module, of those that `imports` finds in it, and so on."""
    pending, seen = [module], set()
    while pending:
        path = _module_path(pending.pop())
        relative = str(path.relative_to(PROJECT))
        if relative not in seen:
            seen.add(relative)
            pending += imports(path.read_text(encoding="utf-8"))
    return seen


def _project_imports(source: str) -> frozenset[str]:
    """Without the contracts."""
    return _imports(source) - CONTRACTS


@cache
def _imports(source: str) -> frozenset[str]:
    names: set[str] = set()
    for package, listed, module in IMPORT.findall(source):
        names.add(package or module)
        for part in COMMENT.sub("", listed).strip("()").split(","):
            names |= {f"{package}.{name}" for name in part.split()[:1]}  # not what follows `as`
    return frozenset(name for name in names if _module_path(name).is_file())


def _module_path(name: str) -> Path:
    return PROJECT.joinpath(*name.split(".")).with_suffix(".py")


@cache
def library_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
