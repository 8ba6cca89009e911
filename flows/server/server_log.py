"""What a server's log says of the machine: Prefect's client, asked, tells nothing of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import FolioError
from pipelines.files.machine import explained, explained_text

LOG_BYTES = 1 << 16  # of its end


@contextmanager
def refusals_told(log: Path) -> Iterator[None]:
    """An error inside becomes a FolioError when the machine refused something to the server."""
    try:
        yield
    except FolioError:
        raise
    except Exception as error:
        refused = None if explained(error) else _refused(log)
        if refused is None:
            raise
        raise FolioError(f"the Prefect server fails: {refused}") from error


def why_of(log: Path) -> str:
    """What the machine refused to the server, to end a sentence with; else where its log is."""
    refused = _refused(log)
    return f": {refused}" if refused else f"; {log} may say why"


def _refused(log: Path) -> str | None:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            return explained_text(file.read().decode(errors="replace"), log.parent)
    except OSError:
        return None
