"""Signals that fall where Python cannot raise what they mean, in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.conftest import PROJECT

FALLING = """\
import contextlib, signal, sys, time
from flows.server.interrupts import terminations_unwind

class Falling:
    def __del__(self):
        signal.raise_signal({number})

if {in_a_flow}:
    from prefect.utilities.engine import capture_sigterm as handlers
else:
    handlers = contextlib.nullcontext
with terminations_unwind(), handlers():
    try:
        Falling()
        print("swallowed", flush=True)
        time.sleep(60)
    finally:
        print("unwound", flush=True)
"""


@pytest.mark.parametrize(
    ("number", "in_a_flow", "status"),
    [
        (signal.SIGINT, False, -signal.SIGINT),
        (signal.SIGTERM, False, 128 + signal.SIGTERM),
        # There Prefect's own handler is in charge.
        pytest.param(signal.SIGTERM, True, 128 + signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_signal_that_falls_into_a_destructor_comes_again(
    number: int, in_a_flow: bool, status: int
) -> None:
    code = FALLING.format(number=int(number), in_a_flow=in_a_flow)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, text=True, timeout=50, capture_output=True
    )
    assert done.stdout.split() == ["swallowed", "unwound"], done.stderr
    assert done.returncode == status and "ignored" not in done.stderr, done.stderr
