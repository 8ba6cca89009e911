"""Shared by version checks and downloads: safe redirects, the version and length of a file in a
response, and why there was no response, in words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from pipelines.errors import FolioError, UnreachableError
from pipelines.network.addresses import shown

if TYPE_CHECKING:
    from requests import Response

MAX_REDIRECTS = 5
LENGTH_DIGITS = 18  # a million terabytes
# Request the file's own bytes, not a compressed form.
HEADERS = {"Accept-Encoding": "identity"}
UNNAMED = "no version named"


class MissingError(FolioError):
    """The server answers, but has no such file. The message says so and gives no advice."""


def answered(url: str, response: Response) -> str:
    """The start of a message about a refusal."""
    code = response.status_code
    return f"{shown(url)}: answered {code} {responses.get(code, '')}".rstrip()


def version_of(response: Response, size: int | None) -> str:
    """The response's version of the file: its ETag, else its date and size.

    UNNAMED if there is neither. Weak ETags count: they change when the file's meaning changes.
    """
    etag, date = (response.headers.get(name) for name in ("ETag", "Last-Modified"))
    if etag:
        return f"ETag {etag}"
    if date:
        return f"Last-Modified {date}" + ("" if size is None else f", {size} bytes")
    return UNNAMED


def declared_length(url: str, response: Response) -> int | None:
    """The Content-Length, if there is one. Raises FolioError if it is not a valid length."""
    length = response.headers.get("Content-Length")
    if length is None:
        return None
    if not (length.isascii() and length.isdecimal() and len(length) <= LENGTH_DIGITS):
        said = length if len(length) <= LENGTH_DIGITS else f"{length[:LENGTH_DIGITS]}…"
        raise FolioError(
            f"{shown(url)}: answered with a Content-Length of {said!r}; get the file some "
            "other way and give --mirror DIR"
        )
    return int(length)


class Redirects:
    """Follows an address's redirects, up to a limit and only where it is safe."""

    def __init__(self, url: str) -> None:
        self.url, self._hops = url, 0

    def check(self, response: Response, **_: Any) -> None:
        """The hook that requests calls for each response. Raises FolioError if it leads to a
        forbidden address."""
        if not response.is_redirect:
            return
        response.raw.close()  # requests would read its whole body, whatever its size
        self._hops += 1
        before = urlsplit(response.url).scheme
        try:
            target = urljoin(response.url, response.headers["location"])
            after = urlsplit(target).scheme
        except ValueError:
            target, after = "a malformed address", ""
        if self._hops > MAX_REDIRECTS:
            raise FolioError(
                f"{shown(self.url)}: redirects more than {MAX_REDIRECTS} times; fix source.url"
            )
        if after not in ("http", "https") or (before, after) == ("https", "http"):
            raise FolioError(
                f"{shown(self.url)}: redirects from {before} to {shown(target)}, which is "
                "not safe; fix source.url"
            )


def download_error(error: Exception, where: str) -> FolioError:
    """The user's error for a library's error: an UnreachableError if another attempt may help."""
    import requests
    from urllib3.exceptions import TimeoutError as ReadTimeout

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FolioError(
                f"{where}: its certificate is not trusted ({cause.verify_message}); fix "
                "source.url or this machine's certificates"
            )
    if not isinstance(error, requests.ConnectionError | requests.Timeout | ReadTimeout):
        return FolioError(
            f"{where}: cannot be fetched ({type(error).__name__}); fix source.url, or get "
            "the file some other way and give --mirror DIR"
        )
    system = [
        cause
        for cause in causes
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException)
    ]
    reason = (system[-1].strerror or str(system[-1])) if system else "not a valid response"
    return UnreachableError(f"{where}: no answer ({reason})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
