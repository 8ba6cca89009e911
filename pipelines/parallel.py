"""Work in threads beside the main one, in order and a few items ahead of it.

It pays where the work leaves Python's lock alone, as zlib, Polars, Parquet and large numpy
arrays do. Memory holds what `most` items take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST = 3  # items at a time


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 2, most: int = MOST
) -> Generator[Result]:
    """`function` of each item, in the items' order; what it raises is raised in its place."""
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also when the reader stops early
        pool.shutdown(cancel_futures=True)


def ahead(items: Iterator[Item], most: int = MOST) -> Generator[Item]:
    """`items`, made in a thread before they are asked for."""
    end: Any = object()
    for item in mapped(lambda _: next(items, end), repeat(None), workers=1, most=most):
        if item is end:
            return
        yield item
