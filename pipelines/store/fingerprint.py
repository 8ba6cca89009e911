"""What determines a stage's bytes besides its inputs: its code and the libraries it uses."""

from __future__ import annotations

import re
from functools import cache
from importlib import metadata
from pathlib import Path

from pipelines.files.digests import digest_file
from pipelines.files.home import PROJECT

# Their entire effect on a stage is in its configuration and inputs, which are in the key already,
# or in messages.
CONTRACTS = {
    "pipelines.declaration.spec",
    "pipelines.declaration.section_base",
    "pipelines.declaration.label_checks",
    "pipelines.declaration.data_sections",
    "pipelines.declaration.evaluation_section",
    "pipelines.declaration.model_sections",
    "pipelines.declaration.training_section",
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
    pending, seen = [module], {name: digest_file(PROJECT / name) for name in files}
    while pending:
        name = pending.pop()
        path = _module_path(name)
        relative = str(path.relative_to(PROJECT))
        if relative not in seen:
            seen[relative] = digest_file(path)
            pending += _project_imports(path.read_text(encoding="utf-8"))
    return dict(sorted(seen.items()))


@cache
def _project_imports(source: str) -> tuple[str, ...]:
    names: set[str] = set()
    for package, listed, module in IMPORT.findall(source):
        names.add(package or module)
        for part in COMMENT.sub("", listed).strip("()").split(","):
            names |= {f"{package}.{name}" for name in part.split()[:1]}  # not what follows `as`
    return tuple(name for name in names - CONTRACTS if _module_path(name).is_file())


def _module_path(name: str) -> Path:
    return PROJECT.joinpath(*name.split(".")).with_suffix(".py")


@cache
def library_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
