"""What a declaration says before it is checked: its data, and its name.

Commands that need only a name do not import the models of what may be declared.
"""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.declaration.catalog import declaration_file, is_file, is_path
from pipelines.declaration.reading.yaml_text import NotYamlError, parse, read_text
from pipelines.errors import UsageError

_parsed = lru_cache(maxsize=32)(parse)  # a command reads the same file several times


def read_declaration(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The declaration as plain data, and {dotted key: "file:line"}."""
    try:
        data, lines = deepcopy(_parsed(read_text(path)))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except NotYamlError as error:
        where = f"{path}:{error.line}" if error.line else str(path)
        raise UsageError(f"{where}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path}:1: a declaration is a mapping that starts with `source:`")
    return data, {key: f"{path}:{line}" for key, line in lines.items()}


def declared_name(pipeline: str) -> str | None:
    """The name: in a declaration, if it has one."""
    name = read_declaration(declaration_file(pipeline))[0].get("name")
    return name if isinstance(name, str) else None


def pipeline_name(pipeline: str) -> str:
    """The name of a pipeline that is given by its name or by the path of its declaration."""
    if not is_path(pipeline):
        return pipeline
    return (is_file(Path(pipeline)) and declared_name(pipeline)) or Path(pipeline).stem
