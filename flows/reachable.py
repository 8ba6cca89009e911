"""Whether servers answer."""

from __future__ import annotations

import http.client
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from pipelines.errors import FolioError
from pipelines.web import shown


def answers(address: str) -> bool:
    """Whether a server of this machine is ready there, if only to ask for a password."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=2)
    try:
        connection.request("GET", parts.path)
        return connection.getresponse().status in (200, 401)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def require_answer(url: str) -> None:
    """Raises FolioError when nothing answers at PREFECT_API_URL."""
    try:
        urlopen(f"{url.rstrip('/')}/health", timeout=5).close()
    except HTTPError:
        pass  # it answers; whether it lets us in is Prefect's to say
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise FolioError(f"PREFECT_API_URL={shown(url)}: does not answer ({reason}); start "
                         "that server, or unset PREFECT_API_URL to use Folio's own") from error
