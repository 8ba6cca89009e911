"""Work in threads beside the main one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pipelines.parallel import MOST, ahead, mapped


def test_results_come_in_order_whoever_is_done_first() -> None:
    def slow_if_even(item: int) -> int:
        time.sleep(0.02 * (item % 2 == 0))
        return item * item

    assert list(mapped(slow_if_even, range(10))) == [n * n for n in range(10)]
    assert list(ahead(iter("abc"))) == ["a", "b", "c"]
    assert list(ahead(iter(()))) == []


def test_two_work_at_once() -> None:
    both = threading.Barrier(2, timeout=30)
    assert len(list(mapped(lambda _: both.wait(), range(4)))) == 4


def test_no_more_than_a_few_wait_in_memory() -> None:
    taken: list[int] = []
    results = mapped(lambda item: item, (taken.append(n) or n for n in range(100)))
    for done in range(1, 20):
        next(results)
        assert len(taken) <= done + MOST
    results.close()


def test_an_error_comes_in_its_place_and_nothing_goes_on_after_it() -> None:
    def broken(item: int) -> int:
        return 1 // (item - 2)

    results = mapped(broken, range(100))
    assert [next(results), next(results)] == [-1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert next(results, None) is None


def test_who_stops_early_leaves_no_thread_behind() -> None:
    def numbers() -> Iterator[int]:
        yield from range(10**9)

    before, source = threading.active_count(), numbers()
    reader = ahead(source)
    assert next(reader) == 0
    reader.close()
    source.close()  # fails while a thread is in it
    assert threading.active_count() == before
