"""Work in background threads, in order and a few items ahead.

This helps where the work releases Python's lock, as zlib, Polars, Parquet and large numpy arrays
do. At most `most` results are held in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import repeat
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
MOST = 3  # number of items


def mapped(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int = 2, most: int = MOST
) -> Generator[Result]:
    """`function` of each item, in the items' order; its exceptions are raised in the item's
    place."""
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:  # also if the reader stops early
        pool.shutdown(cancel_futures=True)


def ahead(items: Iterator[Item], most: int = MOST) -> Generator[Item]:
    """`items`, computed in a thread before they are needed."""
    end: Any = object()
    for item in mapped(lambda _: next(items, end), repeat(None), workers=1, most=most):
        if item is end:
            return
        yield item
