"""Texts of requests that arrive together are computed together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from pipelines.errors import FolioError

MOST_AT_ONCE = 256  # texts of one computation
MOST_WAITING = 8192  # texts; further requests are turned away

T = TypeVar("T")
Row = TypeVar("Row")


class BusyError(FolioError):
    """More texts wait than could be answered soon."""


class Batcher(Generic[Row]):
    """`ask` returns the rows of `answer` for some texts. While one batch is computed, in a thread
    of its own, requests gather; they are the next batch."""

    def __init__(self, answer: Callable[[list[str]], list[Row]]) -> None:
        self._answer = answer
        self._thread = ThreadPoolExecutor(1, "model")
        self._waiting: deque[tuple[list[str], asyncio.Future[list[Row]]]] = deque()
        self._texts, self._runs = 0, False

    async def ask(self, texts: list[str]) -> list[Row]:
        if self._texts + len(texts) > MOST_WAITING:
            raise BusyError(f"{self._texts:,} texts are waiting; try again later")
        future: asyncio.Future[list[Row]] = asyncio.get_running_loop().create_future()
        self._waiting.append((texts, future))
        self._texts += len(texts)
        if not self._runs:
            self._runs = True
            self._task = asyncio.create_task(self._work())
        return await future

    async def compute(self, call: Callable[[], T]) -> T:
        """What `call` returns, computed in turn with the batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def _work(self) -> None:
        try:
            while self._waiting:
                taken = self._next()
                texts = [text for asked, _ in taken for text in asked]
                await self._serve(taken, texts)
                self._texts -= len(texts)
        finally:
            self._runs = False

    def _next(self) -> list[tuple[list[str], asyncio.Future[list[Row]]]]:
        taken = [self._waiting.popleft()]
        count = len(taken[0][0])
        while self._waiting and count + len(self._waiting[0][0]) <= MOST_AT_ONCE:
            taken.append(self._waiting.popleft())
            count += len(taken[-1][0])
        return taken

    async def _serve(
        self, taken: list[tuple[list[str], asyncio.Future[list[Row]]]], texts: list[str]
    ) -> None:
        try:
            rows = iter(await self.compute(lambda: self._answer(texts)))
        except Exception as error:
            for _, future in taken:
                if not future.done():
                    future.set_exception(error)
            return
        for asked, future in taken:
            own = [next(rows) for _ in asked]
            if not future.done():  # the client may be gone
                future.set_result(own)
