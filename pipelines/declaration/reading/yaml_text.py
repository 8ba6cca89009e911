"""Reads untrusted YAML within limits: a declaration, or a value on the command line.

A few lines of YAML can expand beyond any memory, nest deeper than Python supports, or be invalid
values. They are read in bounded time and memory, or rejected in one line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import yaml

MAX_BYTES = 256 * 1024  # of a file: the longest in the catalog has 2,200
MAX_VALUES = 10_000  # keys and values; those of an alias count each time it is used
MAX_DEPTH = 20
MAX_NUMBER = 64  # characters: Python takes seconds for a number with many digits
MAX_KEY = 200  # characters
MAX_MESSAGE = 300  # characters: PyYAML quotes what it does not know

AS_WRITTEN = ("labels", "corpus.labels")  # their values are words of a file: no is not False
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
# What PyYAML raises, besides its own errors, for invalid values: 2020-99-99, !!int "".
NO_VALUE = (ValueError, TypeError, LookupError, AttributeError, OverflowError)


class NotYamlError(ValueError):
    """What is wrong, in one line; `line` is its line in the text."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if len(problem) <= MAX_MESSAGE else f"{problem[:MAX_MESSAGE]}…")
        self.line = line


def read_text(path: Path) -> str:
    """The text of a file. Raises OSError, or NotYamlError if it cannot be YAML."""
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise NotYamlError(f"larger than {MAX_BYTES:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotYamlError(
            "not UTF-8 text; save it as UTF-8", data.count(b"\n", 0, error.start) + 1
        ) from error


def parse(text: str) -> tuple[Any, dict[str, int]]:
    """The contents of a YAML text, and {dotted key: line}. Raises NotYamlError."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return (None if node is None else loader.construct_document(node)), _lines(node)
    except yaml.reader.ReaderError as error:
        raise NotYamlError(
            f"the character U+{error.character:04X} is not allowed",
            text.count("\n", 0, error.position) + 1,
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise NotYamlError(str(error.problem), mark.line + 1 if mark else None) from error


class _Loader(yaml.SafeLoader):
    """Counts while composing, so that nothing is built from a text that exceeds the limits."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._values = self._depth = 0
        self._sizes: dict[yaml.Node, int] = {}  # of the finished nodes, including themselves

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node:
        event, before = self.peek_event(), self._values
        self._values += 1
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _wrong(f"nested more than {MAX_DEPTH} levels deep", event)
        node = cast(yaml.Node, super().compose_node(parent, index))
        if isinstance(event, yaml.AliasEvent):
            if node not in self._sizes:
                raise _wrong(f"*{event.anchor} contains itself", event)
            self._values += self._sizes[node]
        else:
            self._sizes[node] = self._values - before
        if self._values > MAX_VALUES:
            raise _wrong(f"more than {MAX_VALUES:,} keys and values, with aliases expanded", event)
        self._depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()  # dotted too: `training.epochs: 1` and `training: {epochs: 2}`
        for key, value in node.value:
            if key.tag not in (TEXT, MERGE):
                written = key.value if isinstance(key, yaml.ScalarNode) else f"a {key.id}"
                raise _wrong(
                    f"{written} is not a string, as a key must be; write it in quotes", key
                )
            if len(key.value) > MAX_KEY:
                raise _wrong(f"a key of {len(key.value):,} characters", key)
            if key.value in AS_WRITTEN and isinstance(value, yaml.SequenceNode):
                for item in value.value:
                    item.tag = TEXT if isinstance(item, yaml.ScalarNode) else item.tag
            given = {key.value, *_lines(value, f"{key.value}.")}
            if twice := sorted(given & seen):
                raise _wrong(f"{twice[0]} is given twice", key)
            seen |= given
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if isinstance(node, yaml.ScalarNode):
            self._check_scalar(node)
        try:
            return super().construct_object(node, deep)
        except NO_VALUE as error:
            kind = node.tag.rpartition(":")[2]
            why = f" ({error})" if type(error) is ValueError else ""
            raise _wrong(
                f"{str(node.value)[:40]!r} is not a valid {kind}{why}; if it is text, "
                "write it in quotes",
                node,
            ) from error

    @staticmethod
    def _check_scalar(node: yaml.ScalarNode) -> None:
        if node.tag.endswith((":int", ":float")) and len(node.value) > MAX_NUMBER:
            raise _wrong(f"a number of {len(node.value):,} characters", node)
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            raise _wrong("text with half a surrogate pair, which is not a character", node)


def _wrong(problem: str, at: yaml.Node | yaml.Event) -> yaml.MarkedYAMLError:
    mark: Any = at.start_mark  # of the parser in Python or of the one in C
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _lines(node: yaml.Node | None, prefix: str = "") -> dict[str, int]:
    """{dotted key: line}, so that an error can point at the place in the file."""
    lines: dict[str, int] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        lines[f"{prefix}{key.value}"] = key.start_mark.line + 1
        lines |= _lines(value, f"{prefix}{key.value}.")
    return lines
