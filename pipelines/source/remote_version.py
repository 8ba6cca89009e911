"""Asks the origin of a source without checksums for the current version of its files.

A version is taken from the server's headers, or is the SHA-256 of a local file. It is part of the
source's key, so a changed file is fetched again and an unchanged one is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.declaration.spec import SourceSpec
from pipelines.errors import FolioError, UnreachableError
from pipelines.files.digests import digest_file
from pipelines.network.addresses import shown
from pipelines.network.credentials import resolved
from pipelines.network.http_answers import (
    HEADERS,
    UNNAMED,
    MissingError,
    Redirects,
    answered,
    declared_length,
    download_error,
    version_of,
)
from pipelines.source.locations import Place, file_names, from_first, places
from pipelines.source.object_stores import is_object_store, version_at
from pipelines.store.artifacts import Artifact

if TYPE_CHECKING:
    from requests import Response

ASK_SECONDS = 5  # a plan should not hang on a dead host, and the next plan asks again


def must_be_asked(source: SourceSpec) -> bool:
    """Whether only the origin can tell if the files have changed."""
    return bool(source.url) and not source.sha256


def versions(source: SourceSpec, mirror: str | None, offline: bool) -> dict[str, str]:
    """{file name: its version} from the first place that has the file.

    Raises UsageError on an invalid address, UnreachableError if a place did not answer or `offline`
    is set, FolioError on refusals.
    """
    ask = partial(_ask, seconds=min(ASK_SECONDS, source.timeout_seconds), offline=offline)
    return {
        name: from_first(places(name, url, mirror), ask)
        for name, url in file_names(source.url).items()
    }


def doubt(asked: dict[str, str], artifact: Artifact) -> str | None:
    """Why an artifact made for these versions may still contain other bytes, if it may."""
    for name, version in asked.items():
        if version == UNNAMED:
            return "the server sends neither ETag nor Last-Modified, so it is downloaded again"
        fetched = artifact.counts["origins"][name]["version"]
        if fetched != version:
            return f"source changed while it was fetched: {change(name, version, fetched)}"
    return None


def change(name: str, before: str, now: str) -> str:
    """Two versions of a file, in words; what both have in common is said once."""
    kind = before.partition(" ")[0]
    return f"{name} {before} → {now.removeprefix(f'{kind} ')}"


def _ask(place: Place, seconds: float, offline: bool) -> str:
    if isinstance(place.address, Path):
        if not place.address.is_file():
            raise MissingError(f"{place.address}: no such file")
        return place.version(f"SHA-256 {digest_file(place.address)}")
    if offline:
        raise UnreachableError(f"{shown(place.address)}: --offline forbids it")
    url = resolved(place.address)
    asked = version_at(url) if is_object_store(url) else _ask_server(url, seconds)
    return place.version(asked)


def _ask_server(url: str, seconds: float) -> str:
    """The version in the response's headers. The body is not read."""
    for method in ("HEAD", "GET"):  # some servers refuse HEAD, or send fewer headers for it
        with _answer(method, url, seconds) as response:
            code = response.status_code
            version = version_of(response, declared_length(url, response))
            if code == 200 and version != UNNAMED:
                return version
    if code == 200:
        return UNNAMED
    raise (MissingError if code in (404, 410) else FolioError)(answered(url, response))


@contextmanager
def _answer(method: str, url: str, seconds: float) -> Iterator[Response]:
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    from pipelines.network.connections import Watch, send

    with Watch(shown(url), 2 * seconds) as watch:  # for headers that arrive byte by byte
        try:
            response = send(
                method, url, watch, headers=HEADERS, timeout=seconds, check=Redirects(url).check
            )
        except (RequestException, HTTPError) as error:
            raise download_error(error, shown(url)) from error
    with response:
        yield response
