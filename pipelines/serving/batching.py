"""Groups texts to fit into memory, and pads their ids into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np

MAX_ROWS = 256  # texts per call of the model
MAX_SLOTS = 2**16  # tokens with padding per call
MOST_SPREAD = 2  # the longest text of a call, as a multiple of its shortest
MAX_TOKENS = 50_000  # of one text; training reads a few thousand at most
GROUP_TEXTS, GROUP_CHARACTERS = 4096, 2**23  # texts whose ids are held at once

Item = TypeVar("Item")


def characters_of(text: object) -> int:
    return len(text) if isinstance(text, str) else 0


def groups(
    texts: Iterable[Item], length: Callable[[Item], int] = characters_of
) -> Iterator[list[Item]]:
    """The texts, or anything with a length in characters, in groups that limit the memory used."""
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
    """Row indices, texts of similar length together, without those over MAX_TOKENS; `most` is the
    number of tokens that texts are cut to, `few_shapes` as in `model_inputs`."""
    batch: list[int] = []
    spread = 1 if few_shapes else MOST_SPREAD
    for i in sorted(range(len(lengths)), key=lambda i: (lengths[i], i)):
        if lengths[i] > MAX_TOKENS:
            break
        width = width_of(lengths[i], most, few_shapes)
        if batch and (
            len(batch) == MAX_ROWS
            or (len(batch) + 1) * width > MAX_SLOTS
            or width > spread * width_of(lengths[batch[0]], most, few_shapes)
        ):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def model_inputs(
    rows: list[np.ndarray], pad_id: int, most: int | None = None, few_shapes: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (rows, width) and length (rows,); with `few_shapes`, padded to a small number of
    shapes, for a backend that compiles each one."""
    height = 1 << (len(rows) - 1).bit_length() if few_shapes else len(rows)
    width = width_of(max(map(len, rows)), most, few_shapes)
    tokens = np.full((height, width), pad_id, np.int32)
    length = np.ones(height, np.int32)  # a row of padding alone crashes cuDNN
    for i, row in enumerate(rows):
        tokens[i, : len(row)], length[i] = row, len(row)
    return tokens, length


def width_of(length: int, most: int | None, few: bool) -> int:
    """The smallest of 8, 16, 24, … (with `few`: of 16, 24, 32, 48, 64, 96, …) and of `most` that
    fits `length` tokens."""
    width = -(-length // 8) * 8
    if few:
        power = max(16, 1 << (length - 1).bit_length())
        width = power * 3 // 4 if power > 16 and length <= power * 3 // 4 else power
    return width if most is None else min(width, most)
