"""Prefect's functions that answer in an event loop and outside one, called outside."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def in_thread(answer: Answer | Coroutine[Any, Any, Answer]) -> Answer:
    """What such a function gives where no event loop runs; its type allows for both."""
    assert not isinstance(answer, Coroutine), "called in an event loop"
    return answer
