"""Texts in groups that fit into memory, and their ids in padded batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

MAX_ROWS = 256  # texts in one call of the model
MAX_SLOTS = 2**16  # tokens with padding in one call
MOST_SPREAD = 2  # the width of a call's longest text, as a multiple of its shortest's
MAX_TOKENS = 50_000  # of one text; training reads a few thousand at most
GROUP_TEXTS, GROUP_CHARACTERS = 4096, 2**23  # texts that are held as ids at once

Item = TypeVar("Item")


def characters_of(text: object) -> int:
    return len(text) if isinstance(text, str) else 0


def groups(
    texts: Iterable[Item], length: Callable[[Item], int] = characters_of
) -> Iterator[list[Item]]:
    """The texts, or whatever has a length in characters, in groups that bound how much is held."""
    group: list[Item] = []
    characters = 0
    for text in texts:
        group.append(text)
        characters += length(text)
        if len(group) == GROUP_TEXTS or characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def rows_by_length(
    lengths: list[int], most: int | None = None, few_shapes: bool = False
) -> Iterator[list[int]]:
    """Row numbers, texts of like length together, those over MAX_TOKENS left out; `most` tokens
    is what the texts were cut to, `few_shapes` as in `model_inputs`."""
    batch: list[int] = []
    spread = 1 if few_shapes else MOST_SPREAD
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if lengths[i] > MAX_TOKENS:
            break
        width = _width(lengths[i], most, few_shapes)
        if batch and (
            len(batch) == MAX_ROWS
            or (len(batch) + 1) * width > MAX_SLOTS
            or width > spread * _width(lengths[batch[0]], most, few_shapes)
        ):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def model_inputs(
    rows: list[np.ndarray], pad_id: int, most: int | None = None, few_shapes: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (rows, width) and length (rows,), with `few_shapes` filled up to few of them, for a
    backend that compiles each one."""
    height = 1 << (len(rows) - 1).bit_length() if few_shapes else len(rows)
    width = _width(max(map(len, rows)), most, few_shapes)
    tokens = np.full((height, width), pad_id, np.int32)
    length = np.ones(height, np.int32)  # a row that is all padding crashes cuDNN
    for i, row in enumerate(rows):
        tokens[i, : len(row)], length[i] = row, len(row)
    return tokens, length


def _width(length: int, most: int | None, few: bool) -> int:
    """The least of 8, 16, 24, …, of `few` 16, 24, 32, 48, 64, 96, …, and of `most` that holds
    `length` tokens."""
    width = -(-length // 8) * 8
    if few:
        power = max(16, 1 << (length - 1).bit_length())
        width = power * 3 // 4 if power > 16 and length <= power * 3 // 4 else power
    return width if most is None else min(width, most)
