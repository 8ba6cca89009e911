"""Finds out what the system refused to a server from its log; Prefect's client does not say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import FolioError
from pipelines.files.machine import refusal_in, refusal_of

LOG_BYTES = 1 << 16  # of the end of the log


@contextmanager
def refusals_told(log: Path) -> Iterator[None]:
    """Turns an error inside into a FolioError if the system refused something to the server."""
    try:
        yield
    except FolioError:
        raise
    except Exception as error:
        refused = None if refusal_of(error) else _refused(log)
        if refused is None:
            raise
        raise FolioError(f"the Prefect server fails: {refused}") from error


def why_of(log: Path) -> str:
    """What the system refused to the server, as the end of a sentence; else where the log is."""
    refused = _refused(log)
    return f": {refused}" if refused else f"; see {log}"


def _refused(log: Path) -> str | None:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            return refusal_in(file.read().decode(errors="replace"), log.parent)
    except OSError:
        return None
