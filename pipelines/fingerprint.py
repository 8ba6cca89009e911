"""What shapes a stage's bytes besides its inputs: its code, and the libraries it leans on."""

from __future__ import annotations

import ast
import hashlib
import json
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from threading import Lock
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
# Their whole effect on a stage is in its configuration and inputs, which the key holds already.
CONTRACTS = {"pipelines.spec", "pipelines.text_spec", "pipelines.evaluation_spec",
             "pipelines.store", "pipelines.errors"}
PARSE_TRIES = 9
PARSING = Lock()


def digest_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_json(value: Any) -> str:
    """SHA-256 of the canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return digest_bytes(text.encode())


def code_fingerprint(module: str, files: tuple[str, ...] = ()) -> dict[str, str]:
    """{project file: digest} of a module, of all project modules that it imports, of `files`."""
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
    for node in ast.walk(_parsed(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    wanted = {n for n in names if n.startswith("pipelines.")} - CONTRACTS
    return tuple(name for name in wanted if _module_path(name).is_file())


def _parsed(source: str) -> ast.Module:
    """CPython 3.11 raises SystemError where two threads parse at once (python/cpython#106905): ours
    take turns, and where others parse it is tried again."""
    for _ in range(PARSE_TRIES):
        with suppress(SystemError), PARSING:
            return ast.parse(source)
    return ast.parse(source)


def _module_path(name: str) -> Path:
    return PROJECT.joinpath(*name.split(".")).with_suffix(".py")


@cache
def library_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
