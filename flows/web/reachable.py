"""Checks whether servers answer."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from pipelines.errors import FolioError
from pipelines.network.addresses import shown


def answers(address: str) -> bool:
    """Whether a local server is ready, even if it requires a password."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=2)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status in (200, 401)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def require_answer(url: str) -> None:
    """Raises FolioError if nothing answers at PREFECT_API_URL."""
    import httpx

    try:
        httpx.get(f"{url.rstrip('/')}/health", timeout=5)  # Prefect handles authentication
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise FolioError(
            f"PREFECT_API_URL={shown(url)}: does not answer ({_reason(error)}); start "
            "that server, or unset PREFECT_API_URL to use Folio's own"
        ) from error


def _reason(error: BaseException) -> str:
    """In the system's words if possible; other messages may quote the address."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__
