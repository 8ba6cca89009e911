"""Requests that wait together are computed together, and each gets its own rows."""

from __future__ import annotations

import asyncio
import threading

import pytest

from flows.serve.batcher import MOST_AT_ONCE, MOST_WAITING, Batcher, BusyError


class Slow:
    """Answers with the texts in capitals, once it may; notes the batches."""

    def __init__(self) -> None:
        self.may, self.batches = threading.Event(), list[list[str]]()

    def __call__(self, texts: list[str]) -> list[str]:
        self.may.wait(10)
        self.batches.append(texts)
        if "bad" in texts:
            raise ValueError("bad")
        return [text.upper() for text in texts]


def test_what_waits_is_one_batch() -> None:
    slow = Slow()

    async def ask() -> list[list[str]]:
        batcher = Batcher(slow)
        first = asyncio.create_task(batcher.ask(["a", "b"]))
        await asyncio.sleep(0.05)
        more = [asyncio.create_task(batcher.ask([text] * 2)) for text in ("c", "d", "e")]
        await asyncio.sleep(0.05)
        slow.may.set()
        return [await one for one in (first, *more)]

    assert asyncio.run(ask()) == [["A", "B"], ["C", "C"], ["D", "D"], ["E", "E"]]
    assert slow.batches == [["a", "b"], ["c", "c", "d", "d", "e", "e"]]


def test_a_batch_is_bounded_and_a_large_request_is_one() -> None:
    slow = Slow()

    async def ask() -> None:
        batcher = Batcher(slow)
        sizes = (1, MOST_AT_ONCE - 1, 2, 2 * MOST_AT_ONCE)
        tasks = [asyncio.create_task(batcher.ask(["x"] * size)) for size in sizes]
        await asyncio.sleep(0.05)
        slow.may.set()
        assert [len(await task) for task in tasks] == list(sizes)

    asyncio.run(ask())
    assert list(map(len, slow.batches)) == [MOST_AT_ONCE, 2, 2 * MOST_AT_ONCE]


def test_an_error_is_that_batchs_and_the_next_is_answered() -> None:
    slow = Slow()
    slow.may.set()

    async def ask() -> list[str]:
        batcher = Batcher(slow)
        with pytest.raises(ValueError, match="bad"):
            await batcher.ask(["bad"])
        return await batcher.ask(["good"])

    assert asyncio.run(ask()) == ["GOOD"]


def test_too_many_are_turned_away_and_one_who_leaves_harms_no_other() -> None:
    slow = Slow()

    async def ask() -> None:
        batcher = Batcher(slow)
        first = asyncio.create_task(batcher.ask(["a"]))
        leaver = asyncio.create_task(batcher.ask(["b"] * (MOST_WAITING - 1)))
        await asyncio.sleep(0.05)
        with pytest.raises(BusyError, match="8,192 texts are waiting"):
            await batcher.ask(["c"])
        leaver.cancel()
        slow.may.set()
        assert await first == ["A"] and await batcher.ask(["d"]) == ["D"]

    asyncio.run(ask())
