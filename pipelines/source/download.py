"""Fetches one address or local file into a `.part` file: bounded, and resumable.

Next to `NAME.part` is `NAME.part.json`: the identity of the address, the server's version of the
file, and its mark for resuming (ETag or date). Without a mark it is uncertain whether the rest
would fit, so the download starts over.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.declaration.spec import SourceSpec
from pipelines.errors import FolioError, UnreachableError, UnreadableError
from pipelines.files.small_files import read_object
from pipelines.files.whole_files import write_json
from pipelines.network.addresses import identity, shown
from pipelines.network.http_answers import (
    HEADERS,
    MissingError,
    Redirects,
    answered,
    declared_length,
    download_error,
    version_of,
)
from pipelines.store.removal import remove

if TYPE_CHECKING:
    from requests import Response

CHUNK_BYTES = 1 << 16  # what a broken connection can lose, and what is held in memory
WAITS_SECONDS = (0.5, 1.0)  # between attempts: one more attempt than waits
WINDOW = 2  # times source.timeout_seconds: the period for source.min_bytes_per_second
CONNECT_SECONDS = 10  # a host that accepts no connection within this time is considered down
REPORT_SECONDS = 0.1
CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", re.ASCII)
Report = Callable[[int, int | None], None]  # bytes so far, total bytes if known


class _TryAgain(Exception):
    """An error that may not happen again. `final` is the error to raise if it does."""

    def __init__(self, final: FolioError) -> None:
        super().__init__(str(final))
        self.final = final


def delete_partial(part: Path) -> None:
    """Remove a partial file and its metadata."""
    remove(_note_path(part))
    remove(part)


def is_complete(part: Path, url: str) -> bool:
    """Whether an earlier, interrupted build has already fetched all of `url`."""
    note = _read_note(part)
    return part.is_file() and "complete" in note and note["address"] == identity(url)


def version_fetched(part: Path) -> str:
    """The server's version of the file that `download` fetched to `part`."""
    return _read_note(part)["version"]


def packing_of(part: Path) -> str:
    """The Content-Encoding with which `part` was sent; "" for none."""
    return _read_note(part).get("encoding", "")


def copy(path: Path, part: Path, source: SourceSpec, report: Report) -> None:
    """Copy a local file to `part`. Raises MissingError, or FolioError beyond source.max_bytes."""
    if not path.is_file():
        raise MissingError(f"{path}: no such file")
    sink = Sink(part, str(path), source.max_bytes, report)
    with path.open("rb") as file:
        sink.open(0, os.fstat(file.fileno()).st_size)
        with sink:
            while data := file.read(CHUNK_BYTES):
                sink.write(data)
    report(sink.done, sink.done)


def download(
    url: str,
    part: Path,
    source: SourceSpec,
    report: Report,
    waits: tuple[float, ...] = WAITS_SECONDS,
) -> None:
    """Fetch an http(s) address to `part`, continuing a partial file of an earlier attempt.

    Tries again, after `waits` seconds, if the connection fails or breaks, after
    source.timeout_seconds of silence, and on 5xx. Raises UnreachableError if the last attempt got
    no answer or stalled, or if one is too slow (see SourceSpec), MissingError on 404 and 410 (both
    without advice: another place may have the file), FolioError on any other refusal, an invalid
    body, or more than source.max_bytes. Received bytes stay in `part` for the next call.
    """
    for wait in (*waits, None):
        try:
            return _try(url, part, source, report)
        except _TryAgain as failure:
            if wait is None:
                raise failure.final from failure
        time.sleep(wait)


def _try(url: str, part: Path, source: SourceSpec, report: Report) -> None:
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    from pipelines.network.connections import Watch, send

    silence = source.timeout_seconds
    sink = Sink(part, shown(url), source.max_bytes, report)
    answer = _Answer(url, sink)
    with Watch(sink.where, WINDOW * silence, source.min_bytes_per_second) as watch, sink, answer:
        try:
            response = send(
                "GET",
                url,
                watch,
                headers=HEADERS | answer.resumption(),
                timeout=(min(CONNECT_SECONDS, silence), silence),
                check=answer.check,
            )
            watch.arrived(0)
            while data := response.raw.read1(CHUNK_BYTES):
                watch.arrived(len(data))
                sink.write(data)
        except (RequestException, HTTPError) as error:
            raise _body_error(error, sink) from error
    if sink.total is not None and sink.done != sink.total:
        raise _TryAgain(_broken_off(sink))
    write_json(_note_path(part), _read_note(part) | {"complete": True})
    report(sink.done, sink.done)


class Sink:
    """The `.part` file being written: counts, reports progress, and enforces the limit."""

    def __init__(self, part: Path, where: str, max_bytes: int, report: Report) -> None:
        self.part, self.where, self.max_bytes, self.report = part, where, max_bytes, report
        self.done, self._reported = 0, 0.0
        self.total: int | None = None
        self._file: Any = None

    def open(self, start: int, total: int | None) -> None:
        """Start at byte `start` (0 empties the file) of `total`."""
        self._allow(max(start, total or 0))
        if not start:
            delete_partial(self.part)
        self._file = self.part.open("ab" if start else "wb")
        self.done, self.total = start, total
        self.report(start, total)

    def write(self, data: bytes) -> None:
        self._allow(self.done + len(data))
        self._file.write(data)
        self.done += len(data)
        if time.monotonic() - self._reported >= REPORT_SECONDS:
            self._reported = time.monotonic()
            self.report(self.done, self.total)

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _allow(self, size: int) -> None:
        if size > self.max_bytes:
            delete_partial(self.part)
            raise FolioError(
                f"{self.where}: {size:,} bytes or more, over source.max_bytes "
                f"({self.max_bytes:,}); increase that if the file is meant to be so large"
            )


class _Answer:
    """Checks a server's response before reading the body, and opens the sink."""

    def __init__(self, url: str, sink: Sink) -> None:
        self.url, self.sink, self.part = url, sink, sink.part
        self._redirects = Redirects(url)
        self._response: Response | None = None
        self._encoding = ""
        note = _read_note(self.part)
        same = note.get("address") == identity(url) and "complete" not in note
        self._mark: str | None = note.get("mark") if same else None
        self._kept = self.part.stat().st_size if self._mark and self.part.is_file() else 0

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close()

    def resumption(self) -> dict[str, str]:
        """Headers that request only the rest, provided that the file is unchanged."""
        if not self._kept:
            return {}
        return {"Range": f"bytes={self._kept}-", "If-Range": str(self._mark)}

    def check(self, response: Response, **_: Any) -> None:
        """The hook that requests calls for each response, including redirects."""
        self._response = response
        if response.is_redirect:
            return self._redirects.check(response)
        if response.status_code not in (200, 206):
            raise self._refusal(response)
        # Unpacked on the way, a download could not be resumed; see `received.unpack`.
        self._encoding = response.raw.headers.pop("content-encoding", "")
        start, total = self._extent(response)
        self.sink.open(start, total)
        if not start:
            note = {
                "address": identity(self.url),
                "mark": _mark(response),
                "version": version_of(response, total),
                "encoding": self._encoding,
            }
            write_json(_note_path(self.part), note)

    def _extent(self, response: Response) -> tuple[int, int | None]:
        """(first byte, total bytes if known) of the body that follows."""
        length = declared_length(self.url, response)
        if response.status_code == 200:
            return 0, length
        found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        same = not self._kept or _mark(response) in (None, self._mark)
        if not found or int(found[1]) != self._kept or not same:
            delete_partial(self.part)  # it does not continue the partial file
            raise _TryAgain(_broken_off(self.sink))
        return self._kept, None if found[2] == "*" else int(found[2])

    def _refusal(self, response: Response) -> Exception:
        code, said = response.status_code, answered(self.url, response)
        if code == 416 and self._kept:
            delete_partial(
                self.part
            )  # there is no such rest: the partial file is of another version
            return _TryAgain(FolioError(f"{said}; run again"))
        if code >= 500:
            return _TryAgain(
                FolioError(
                    f"{said}, repeatedly; try later, or get the file some other way and "
                    "give --mirror DIR"
                )
            )
        if code in (404, 410):
            return MissingError(said)
        return FolioError(
            f"{said}; fix source.url, or get the file some other way and give --mirror DIR"
        )


def _body_error(error: Exception, sink: Sink) -> Exception:
    """The user's error for a library's error, wrapped in _TryAgain if another attempt may help."""
    from urllib3.exceptions import ProtocolError

    if isinstance(error, ProtocolError):  # in the body: before it, requests raises ConnectionError
        return _TryAgain(_broken_off(sink))
    found = download_error(error, sink.where)
    return _TryAgain(found) if isinstance(found, UnreachableError) else found


def _broken_off(sink: Sink) -> FolioError:
    total = "" if sink.total is None else f" of {sink.total:,}"
    return FolioError(
        f"{sink.where}: broke off after {sink.done:,}{total} bytes, repeatedly; run again "
        "to continue, or get the file some other way and give --mirror DIR"
    )


def _mark(response: Response) -> str | None:
    """The version of the file for If-Range, which forbids weak ETags."""
    etag = response.headers.get("ETag", "")
    if etag and not etag.startswith("W/"):
        return etag
    return response.headers.get("Last-Modified")


def _note_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_note(part: Path) -> dict[str, Any]:
    """{} if there is none or it is unreadable: the download then starts over."""
    try:
        return read_object(_note_path(part), address=str, version=str, mark=(str, type(None)))
    except (FileNotFoundError, UnreadableError):
        return {}
