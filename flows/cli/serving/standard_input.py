"""Lines of standard input as they arrive, so that an endless stream is answered line by line."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import TextIO

from pipelines.serving.batching import GROUP_CHARACTERS, GROUP_TEXTS, groups

READ_BYTES = 2**16


def arriving(stream: TextIO) -> Iterator[list[str]]:
    """Groups of lines without line ends: everything that has arrived, within the memory limits.

    Bytes that are not UTF-8 become surrogates; the predictor reports them.
    """
    try:
        descriptor = stream.fileno()
    except OSError:  # not a file, but text in memory
        yield from groups(line.rstrip("\n") for line in stream)
        return
    rest, size = bytearray(), 0
    lines: list[str] = []
    while data := os.read(descriptor, READ_BYTES):
        rest += data
        *whole, tail = rest.split(b"\n") if b"\n" in data else (rest,)
        lines += map(_decoded, whole)
        size += sum(map(len, whole))
        rest = bytearray(tail) if whole else rest
        full = len(lines) >= GROUP_TEXTS or size >= GROUP_CHARACTERS
        if lines and (full or not select.select([descriptor], [], [], 0)[0]):
            yield lines
            lines, size = [], 0
    if lines or rest:
        yield [*lines, *([_decoded(rest)] if rest else [])]


def _decoded(line: bytearray) -> str:
    return line.removesuffix(b"\r").decode(errors="surrogateescape")
