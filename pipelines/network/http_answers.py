"""What asking and downloading share about HTTP: safe redirects, the version and the length of a
file that an answer names, and why there was no answer, in words."""

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
# The file's own bytes are wanted, not a packed form of them.
HEADERS = {"Accept-Encoding": "identity"}
UNNAMED = "no version named"


class MissingError(FolioError):
    """The place answers, and has no such file. The message says so and gives no advice."""


def answered(url: str, response: Response) -> str:
    """How a message about a refusal begins."""
    code = response.status_code
    return f"{shown(url)}: answered {code} {responses.get(code, '')}".rstrip()


def version_of(response: Response, size: int | None) -> str:
    """What the answer names this version of the file: its ETag, else its date and size.

    UNNAMED when it says neither. Weak ETags count: they change with what the file means.
    """
    etag, date = (response.headers.get(name) for name in ("ETag", "Last-Modified"))
    if etag:
        return f"ETag {etag}"
    if date:
        return f"Last-Modified {date}" + ("" if size is None else f", {size} bytes")
    return UNNAMED


def declared_length(url: str, response: Response) -> int | None:
    """The Content-Length, if there is one. Raises FolioError when it is no length of a file."""
    length = response.headers.get("Content-Length")
    if length is None:
        return None
    if not (length.isascii() and length.isdecimal() and len(length) <= LENGTH_DIGITS):
        said = length if len(length) <= LENGTH_DIGITS else f"{length[:LENGTH_DIGITS]}…"
        raise FolioError(
            f"{shown(url)}: answered with a Content-Length of {said!r}; get the file "
            "otherwise and give --mirror DIR"
        )
    return int(length)


class Redirects:
    """Follows an address's redirects, as many and to where it is safe."""

    def __init__(self, url: str) -> None:
        self.url, self._hops = url, 0

    def check(self, response: Response, **_: Any) -> None:
        """The hook that requests calls for each answer. Raises FolioError when it leads astray."""
        if not response.is_redirect:
            return
        response.raw.close()  # requests would read the whole of its body, however large
        self._hops += 1
        before = urlsplit(response.url).scheme
        try:
            target = urljoin(response.url, response.headers["location"])
            after = urlsplit(target).scheme
        except ValueError:
            target, after = "a malformed address", ""
        if self._hops > MAX_REDIRECTS:
            raise FolioError(
                f"{shown(self.url)}: redirects more than {MAX_REDIRECTS} times; mend source.url"
            )
        if after not in ("http", "https") or (before, after) == ("https", "http"):
            raise FolioError(
                f"{shown(self.url)}: redirects from {before} to {shown(target)}, "
                "which is not safe; mend source.url"
            )


def explained(error: Exception, where: str) -> FolioError:
    """The user's error for a library's: an UnreachableError where another try may help."""
    import requests
    from urllib3.exceptions import TimeoutError as ReadTimeout

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FolioError(
                f"{where}: its certificate is not trusted "
                f"({cause.verify_message}); mend source.url or this machine's "
                "certificates"
            )
    if not isinstance(error, requests.ConnectionError | requests.Timeout | ReadTimeout):
        return FolioError(
            f"{where}: cannot be fetched ({type(error).__name__}); mend "
            "source.url, or get the file otherwise and give --mirror DIR"
        )
    system = [
        cause
        for cause in causes
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException)
    ]
    reason = (system[-1].strerror or str(system[-1])) if system else "not a proper answer"
    return UnreachableError(f"{where}: no answer ({reason})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
