"""Imports tensorflow-datasets (TFDS) without side effects on the rest of the process.

During the import, this replaces `etils.epy.lazy_imports_utils._lazy_import`, which is not public.
Tested with etils 1.15 and tensorflow-datasets 4.9.
"""

from __future__ import annotations

import builtins
import contextlib
import logging
from collections.abc import Iterator
from importlib import import_module
from threading import get_ident
from typing import Any


def load_tfds() -> Any:
    """tensorflow-datasets, without its output to standard output and its progress bars."""
    with _lazy_here_alone():
        tfds = import_module("tensorflow_datasets")
    tfds.disable_progress_bar()
    return tfds


@contextlib.contextmanager
def _lazy_here_alone() -> Iterator[None]:
    """TFDS defers its imports: etils replaces `__import__`, so other threads that import something
    at the same time, such as Prefect's, would get an empty stand-in."""
    from etils.epy import lazy_imports_utils

    lazy, usual, importer = lazy_imports_utils._lazy_import, builtins.__import__, get_ident()

    def choose(
        name: str,
        globals_: Any = None,
        locals_: Any = None,
        fromlist: tuple[str, ...] = (),
        level: int = 0,
        **options: Any,
    ) -> Any:
        if get_ident() == importer:
            return lazy(name, globals_, locals_, fromlist, level, **options)
        return usual(name, globals_, locals_, fromlist, level)

    lazy_imports_utils._lazy_import = choose
    try:
        yield
    finally:
        lazy_imports_utils._lazy_import = lazy


@contextlib.contextmanager
def errors_alone(logger: str) -> Iterator[None]:
    """Suppress a library's warnings that do not help the user."""
    found = logging.getLogger(logger)
    before = found.level
    found.setLevel(logging.ERROR)
    try:
        yield
    finally:
        found.setLevel(before)
