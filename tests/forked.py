"""Processes that tests kill or that would each load TensorFlow: forked from one that has loaded it.

That one is started once for each process of pytest, and forks before TensorFlow has any threads.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.preloaded"])


def exit_code(log: Path, function: Callable[..., object], *arguments: Any) -> int:
    """How a process that calls the function ends, -9 if killed; what it prints is in `log`."""
    process = CONTEXT.Process(target=_logged, args=(log, function, *arguments))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _logged(log: Path, function: Callable[..., object], *arguments: Any) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(descriptor, number)
    function(*arguments)
