"""The code's fingerprint, where several threads ask for it."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pipelines import fingerprint
from tests.conftest import PROJECT


class Yielding:
    """A piece of garbage whose removal lets another thread go on, as any finalizer may."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0)


@pytest.fixture
def busy_threads() -> Iterator[None]:
    before = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(1)
    yield
    sys.setswitchinterval(before[0])
    gc.set_threshold(*before[1])


def test_threads_that_parse_at_once_do_not_confuse_the_parser(busy_threads: None) -> None:
    source = (PROJECT / "pipelines" / "store.py").read_text(encoding="utf-8")
    found: list[object] = []

    def ask() -> None:
        for _ in range(25):
            Yielding()
            try:
                found.append(fingerprint._project_imports.__wrapped__(source))
            except SystemError as error:
                found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(map(frozenset, filter(None, found))) == {
        frozenset(fingerprint._project_imports(source))}
