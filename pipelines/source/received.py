"""What a server really sent: a text packed although asked for as it is, or a page in its place."""

from __future__ import annotations

import codecs
import html
import re
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pipelines.errors import FolioError
from pipelines.files.whole_files import replacing
from pipelines.network.http_answers import MissingError

CHUNK_BYTES = 1 << 16
# zlib's window bits for each Content-Encoding: of gzip, of zlib, and of deflate without a header.
GZIP, ZLIB, BARE = 31, 15, -15
PLAIN = ("", "identity", "aws-chunked", "utf-8")  # the last two are often sent by mistake
# Servers label a .tar.gz as text that they packed.
NAMED_SO = {"gzip": (".gz", ".tgz"), "x-gzip": (".gz", ".tgz"), "br": (".br",), "zstd": (".zst",)}
PAGE_NAMES = (".html", ".htm", ".xhtml")
PAGE = re.compile(
    rb"(?>\s|<\?xml.*?\?>|<!--.*?-->)*+<(?:!doctype\s+html|html|head|body)\b", re.S | re.I
)
TITLE = re.compile(rb"<title[^>]*>(.*?)</title", re.S | re.I)
HEAD_BYTES, TITLE_LENGTH = 1 << 14, 60


def unpack(part: Path, name: str, where: str, encoding: str, max_bytes: int) -> None:
    """Undo the Content-Encoding with which `part` was sent; a file that is itself packed is kept.

    Raises FolioError if that fails, or gives more than `max_bytes`.
    """
    encoding = encoding.strip().lower()
    if encoding in PLAIN or name.lower().endswith(NAMED_SO.get(encoding, ())):
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise FolioError(
            f"{where}: sent packed (Content-Encoding {encoding[:40]!r}) although asked for as it "
            "is; get the file some other way and give --mirror DIR"
        )
    bits = _window_bits(part, encoding)
    if bits is None:
        return  # labelled as packed, but it is not
    size = 0
    try:
        with replacing(part) as plain, plain.open("wb") as file:
            for data in _unpacked(part, bits):
                size += len(data)
                if size > max_bytes:
                    raise FolioError(
                        f"{where}: unpacks to more than source.max_bytes ({max_bytes:,}); increase "
                        "that if the file is meant to be so large"
                    )
                file.write(data)
    except (zlib.error, EOFError) as error:
        raise FolioError(
            f"{where}: sent packed (Content-Encoding {encoding}) and damaged ({error}); run again, "
            "or get the file some other way and give --mirror DIR"
        ) from error


def _window_bits(part: Path, encoding: str) -> int | None:
    with part.open("rb") as file:
        head = file.read(2)
    if head == b"\x1f\x8b":
        return GZIP
    if encoding != "deflate" or not head:
        return None
    is_zlib = head[0] & 15 == 8 and int.from_bytes(head, "big") % 31 == 0
    return ZLIB if is_zlib else BARE


def _unpacked(part: Path, bits: int) -> Iterator[bytes]:
    """In pieces of bounded size, whatever it expands to. A gzip file may have several members."""
    stream = zlib.decompressobj(bits)
    with part.open("rb") as file:
        data = file.read(CHUNK_BYTES)
        while data:
            yield stream.decompress(data, CHUNK_BYTES)
            data = stream.unconsumed_tail
            if stream.eof and bits == GZIP:
                data = (stream.unused_data or file.read(CHUNK_BYTES)).lstrip(b"\0")
                stream = zlib.decompressobj(bits) if data else stream
            data = data or file.read(CHUNK_BYTES)
    if not stream.eof:
        raise EOFError("it ends too early")


def refuse_page(part: Path, name: str, where: str) -> None:
    """Raises MissingError if a web page came instead of the file: another place may have it."""
    if PurePosixPath(name).suffix.lower() in PAGE_NAMES:
        return
    with part.open("rb") as file:
        head = file.read(HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    if not PAGE.match(head):
        return
    found = TITLE.search(head)
    title = " ".join(html.unescape(found[1].decode(errors="replace")).split()) if found else ""
    called = f" ({title[:TITLE_LENGTH]!r})" if title else ""
    raise MissingError(
        f"{where}: a web page (HTML){called} instead of {name}; if the page is meant, declare its "
        "sha256"
    )
