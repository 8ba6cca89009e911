"""Prefect functions that work inside and outside an event loop, called outside."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


def in_thread(answer: Answer | Coroutine[Any, Any, Answer]) -> Answer:
    """The result of such a function if no event loop is running; its type allows for both."""
    assert not isinstance(answer, Coroutine), "called in an event loop"
    return answer
