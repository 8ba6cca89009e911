"""Servers that pack a text unasked, or send a web page in its place."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from pipelines.declaration.data_sections import SourceSpec
from pipelines.errors import FolioError
from pipelines.network.http_answers import MissingError
from pipelines.source import stage as sources
from pipelines.source.received import refuse_page
from pipelines.store.artifacts import Workspace
from tests.pipelines.http_site import MARK, Reply, Site, send

TEXT = "".join(f"line {n}: {n * 7919 % 10007}\n" for n in range(30_000)).encode()
PAGE = b"<!DOCTYPE html><html><head><title>Are you\nhuman &amp; well?</title></head>" + b"<p>" * 99


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(TEXT, mtime=0),
    "x-gzip": gzip.compress(TEXT[:1000], mtime=0) + gzip.compress(TEXT[1000:], mtime=0) + b"\0" * 9,
    "deflate": zlib.compress(TEXT),
    "Deflate": bare(TEXT),
}
Run = Callable[..., dict]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()

    def build(mirror: str | None = None, **source: object) -> dict:
        work = Workspace(out, scratch, tmp_path, mirror=mirror)
        return json.loads(json.dumps(sources.build({}, {"source": SourceSpec(**source)}, work)))

    return build


def packed(data: bytes, encoding: str, first: int | None = None) -> Reply:
    """All of it, or at first only so many bytes; the rest if asked for it."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        headers = {"Content_Encoding": encoding, "ETag": MARK}
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if asked and handler.headers.get("If-Range") == MARK:
            start = int(asked[1])
            extent = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return send(handler, 206, data[start:], Content_Range=extent, **headers)
        send(handler, 200, data[:first], Content_Length=len(data), **headers)

    return reply


def chunked(data: bytes, encoding: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        headers = {"Content_Encoding": encoding, "Transfer_Encoding": "chunked"}
        send(handler, 200, b"", Content_Length=None, **headers)
        for start in range(0, len(data), 1000):
            piece = data[start : start + 1000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    return reply


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("way", ["whole", "chunked", "resumed"])
def test_a_text_packed_unasked_is_unpacked(
    site: Site, run: Run, tmp_path: Path, encoding: str, way: str
) -> None:
    data = PACKED[encoding]
    if way == "chunked":
        site.protocol("HTTP/1.1")
    site.replies = [
        {
            "whole": packed(data, encoding),
            "chunked": chunked(data, encoding),
            "resumed": packed(data, encoding, first=len(data) // 2),
        }[way]
    ]
    counts = run(url=site.url())
    assert (tmp_path / "out" / "text.txt").read_bytes() == TEXT
    assert counts["origins"]["text.txt"]["sha256"] == hashlib.sha256(TEXT).hexdigest()
    assert counts["bytes"] == len(TEXT)
    assert [asked["Accept-Encoding"] for _, asked in site.asked] == ["identity"] * len(site.asked)
    assert len(site.asked) == (2 if way == "resumed" else 1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["text.txt"]


@pytest.mark.parametrize("form", ["packed", "plain"])
def test_declared_digests_are_of_either_form(
    site: Site, run: Run, tmp_path: Path, form: str
) -> None:
    wanted = PACKED["gzip"] if form == "packed" else TEXT
    site.replies = [packed(PACKED["gzip"], "gzip")]
    for _ in range(2):
        run(url=site.url(), sha256=hashlib.sha256(wanted).hexdigest())
        assert (tmp_path / "out" / "text.txt").read_bytes() == wanted


@pytest.mark.parametrize(
    ("name", "encoding", "data"),
    [
        ("text.tar.gz", "gzip", PACKED["gzip"]),
        ("TEXT.TGZ", "x-gzip", PACKED["gzip"]),
        ("text.txt", "identity", TEXT),
        ("text.txt", "aws-chunked", TEXT),
        ("text.txt", "gzip", TEXT),  # labelled so, but as it is
        ("text.txt.zst", "zstd", b"\x28\xb5\x2f\xfd some frames"),
    ],
)
def test_what_was_not_packed_on_the_way_stays(
    site: Site, run: Run, tmp_path: Path, name: str, encoding: str, data: bytes
) -> None:
    site.replies = [packed(data, encoding)]
    run(url=site.url(name))
    assert (tmp_path / "out" / name).read_bytes() == data


@pytest.mark.parametrize(
    ("encoding", "data", "message"),
    [
        ("br", b"\x1b\x03", r"sent packed \(Content-Encoding 'br'\) although asked for as it is"),
        ("gzip, br", b"\x1b\x03", "Content-Encoding 'gzip, br'"),
        ("gzip", PACKED["gzip"][:-100], r"and damaged \(it ends too early\)"),
        ("gzip", PACKED["gzip"][:99] + b"?" + PACKED["gzip"][100:], "and damaged"),
        ("deflate", b"\x00\x01\x02\x03 no such stream", "and damaged"),
        ("gzip", gzip.compress(bytes(10**7)), r"unpacks to more than source.max_bytes \(900,000\)"),
    ],
)
def test_what_cannot_be_unpacked_is_one_line(
    site: Site, run: Run, tmp_path: Path, encoding: str, data: bytes, message: str
) -> None:
    site.replies = [packed(data, encoding)]
    with pytest.raises(FolioError, match=message) as error:
        run(url=site.url(), max_bytes=900_000)
    assert "\n" not in str(error.value) and not list((tmp_path / "out").iterdir())


def page(handler: BaseHTTPRequestHandler) -> None:
    send(handler, 200, PAGE, Content_Type="text/html")


def test_a_page_in_place_of_the_text_is_refused(site: Site, run: Run, tmp_path: Path) -> None:
    site.replies = [page]
    message = r"a web page \(HTML\) \('Are you human & well\?'\) instead of text.txt; .*--mirror"
    with pytest.raises(FolioError, match=message) as error:
        run(url=site.url())
    assert "\n" not in str(error.value) and not list((tmp_path / "out").iterdir())
    site.replies = [packed(gzip.compress(PAGE), "gzip")]
    with pytest.raises(FolioError, match=r"a web page \(HTML\)"):
        run(url=site.url())
    site.replies = [packed(PACKED["gzip"], "gzip")]  # later it lets us in
    run(url=site.url())
    assert (tmp_path / "out" / "text.txt").read_bytes() == TEXT


def test_a_page_from_the_mirror_leads_to_the_address(site: Site, run: Run, tmp_path: Path) -> None:
    site.replies = [page, packed(PACKED["gzip"], "gzip")]
    run(url=site.url(), mirror=f"{site.address}/mirror")
    assert (tmp_path / "out" / "text.txt").read_bytes() == TEXT
    assert [path for path, _ in site.asked] == ["/mirror/text.txt", "/text.txt"]


def test_a_page_that_is_meant_is_fetched(site: Site, run: Run, tmp_path: Path) -> None:
    site.replies = [page]
    run(url=site.url("index.html"))
    run(url=site.url(), sha256=hashlib.sha256(PAGE).hexdigest())
    for name in ("index.html", "text.txt"):
        assert (tmp_path / "out" / name).read_bytes() == PAGE


@pytest.mark.parametrize(
    ("head", "is_page"),
    [
        (b"\xef\xbb\xbf \r\n<HTML lang=en>", True),
        (b"<?xml version='1.0'?>\n<!DOCTYPE  html PUBLIC '-//W3C'>", True),
        (b"<!-- saved --><!-- twice -->\n<html>", True),
        (b"<body>", True),
        (b"<htmlx>", False),
        (b"<p>a review<br />of a film", False),
        (b"<!doctype tei>", False),
        (b"To learn <html> one reads", False),
        (b"", False),
        (b"<!---->" * 2000, False),  # at once, too
        (b"<!--" * 4000, False),
        (b"\x1f\x8b\x08", False),
    ],
)
def test_pages_are_known_by_their_beginning(tmp_path: Path, head: bytes, is_page: bool) -> None:
    part = tmp_path / "text.txt.part"
    part.write_bytes(head)
    if is_page:
        with pytest.raises(MissingError, match=r"x: a web page \(HTML\) instead of text.csv"):
            refuse_page(part, "text.csv", "x")
    else:
        refuse_page(part, "text.csv", "x")
