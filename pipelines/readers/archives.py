"""Reads tar archives member by member, directly from the (compressed) stream.

Nothing is unpacked to disk, so a hostile archive can only cost memory and time, and both are
limited. `tarfile` needs three times the CPU time for 100,000 small texts, and takes a damaged
header or a missing end for the end. Formats: POSIX ustar and pax, GNU, V7.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pipelines.errors import FolioError
from pipelines.parallel import ahead
from pipelines.readers.file_names import plain_name, refusal

BLOCK = 512
END = bytes(BLOCK)
CHUNK = 2**20  # bytes inflated at a time
GZIP = b"\x1f\x8b"
FILES, FOLDER = (b"0", b"\0", b"7"), b"5"
LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL = b"L", b"K", b"x", b"g"
REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
    b"S": "a sparse file",
}
OCTAL = re.compile(rb"[ \0]*[0-7]*[ \0]*")


@dataclass(frozen=True)
class Limits:
    """What an archive may cost. Sizes in bytes."""

    member: int = 64 * 2**20  # of one wanted file, held in memory whole
    total: int = 64 * 2**30  # of everything, inflated
    members: int = 5_000_000  # their names are held in memory
    ratio: int = 200  # inflated / compressed; running text reaches 5, a bomb 1000
    ratio_from: int = 64 * 2**20  # below this size no ratio is suspicious
    header: int = 2**16  # of a long name or pax header


LIMITS = Limits()


class _Member(NamedTuple):
    name: str
    size: int
    is_file: bool


def read_members(
    path: Path, wanted: Callable[[str], bool], limits: Limits = LIMITS
) -> Iterator[tuple[str, bytes | None]]:
    """Every regular file of a .tar or .tar.gz in its order: name, and content where wanted.

    The content of other files is skipped and is None. Raises FolioError naming archive and
    member for anything that is not a plain file or folder with a plain relative name, for a name
    that comes twice, for sizes beyond the limits, and for a damaged or truncated archive.
    """
    inflated = _inflated(path, limits)
    stream = _Stream(path, ahead(inflated))
    seen: set[str] = set()
    try:
        for member in _members(stream, limits):
            if not member.is_file:
                continue
            if member.name in seen:
                raise refusal(path, member.name, "comes twice")
            if len(seen) == limits.members:
                raise FolioError(f"{path.name}: more than {limits.members:,} members; refused")
            seen.add(member.name)
            padded = member.size + -member.size % BLOCK
            if not wanted(member.name):
                stream.skip(padded)
                yield member.name, None
            elif member.size > limits.member:
                raise refusal(
                    path,
                    member.name,
                    f"has {member.size:,} bytes, more than the "
                    f"{limits.member:,} that a text may have",
                )
            else:
                yield member.name, stream.take(padded)[: member.size]
        stream.drain()  # to the end, where gzip keeps its checksum
    finally:
        stream.chunks.close()
        inflated.close()


def _inflated(path: Path, limits: Limits) -> Generator[bytes]:
    """The tar's own bytes, in chunks that are never empty."""
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
        file.seek(0)
        total = 0
        for chunk in _gunzip(path, file) if zipped else iter(lambda: file.read(CHUNK), b""):
            total += len(chunk)
            if total > limits.total:
                raise FolioError(f"{path.name}: holds more than {limits.total:,} bytes; refused")
            if total > max(limits.ratio_from, limits.ratio * file.tell()):
                raise FolioError(
                    f"{path.name}: inflates to more than {limits.ratio} times its "
                    "size, as no text does; refused"
                )
            yield chunk


def _gunzip(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Inflates one gzip stream, or several in a row. zlib proves each one's checksum."""
    inflater, data = zlib.decompressobj(31), b""
    try:
        while data := data or file.read(CHUNK // 4):
            if inflater.eof:
                data = data.lstrip(b"\0")  # padding between and after streams
                if not data:
                    continue
                inflater = zlib.decompressobj(31)
            chunk = inflater.decompress(data, CHUNK)
            data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            if chunk:
                yield chunk
    except zlib.error as error:
        raise FolioError(
            f"{path.name}: the gzip stream is damaged ({error}); fetch the file again"
        ) from error
    if not inflater.eof:
        raise _cut_short(path)


class _Stream:
    """Takes and skips exact numbers of bytes."""

    def __init__(self, path: Path, chunks: Generator[bytes]) -> None:
        self.path, self.chunks = path, chunks
        self.buffer, self.at = b"", 0
        self.last = ""  # member whose header was read last

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.buffer):
            self._gather(size)
        data = self.buffer[self.at : self.at + size]
        self.at += size
        return data

    def skip(self, size: int) -> None:
        while self.at + size > len(self.buffer):
            size -= len(self.buffer) - self.at
            self.buffer, self.at = self._next(), 0
        self.at += size

    def drain(self) -> None:
        for _ in self.chunks:
            pass

    def _gather(self, size: int) -> None:
        pieces = [self.buffer[self.at :]]
        missing = size - len(pieces[0])
        while missing > 0:
            pieces.append(self._next())
            missing -= len(pieces[-1])
        self.buffer, self.at = b"".join(pieces), 0

    def _next(self) -> bytes:
        chunk = next(self.chunks, b"")
        if not chunk:
            raise _cut_short(self.path) if self.last else _not_tar(self.path)
        return chunk


def _members(stream: _Stream, limits: Limits) -> Iterator[_Member]:
    """Files and folders; long names and pax headers are already applied to them."""
    path = stream.path
    records: dict[bytes, bytes] = {}  # what extra headers say about the member that follows
    while header := _header(stream):
        kind, size = header[156:157], _number(path, header[124:136])
        if kind in (LONG_NAME, LONG_LINK, PAX, PAX_GLOBAL):
            records |= _extra_header(stream, kind, size, limits)
            continue
        name = stream.last = _name(path, records.get(b"path") or _own_name(header))
        if kind != FOLDER and kind not in FILES:
            raise refusal(path, name, f"is {REFUSED.get(kind, f'of unknown type {kind!r}')}")
        if records:
            if any(key.startswith(b"GNU.sparse") for key in records):
                raise refusal(path, name, "is a sparse file")
            size = _decimal(path, records[b"size"]) if b"size" in records else size
            records = {}
        is_folder = kind == FOLDER or (kind == b"\0" and name.endswith("/"))
        yield _Member(name, size, not is_folder)


def _header(stream: _Stream) -> bytes:
    """The next header, its checksum proved; empty at the archive's end mark."""
    header = stream.take(BLOCK)
    if header == END:
        return b""
    stated = header[148:156]
    if OCTAL.fullmatch(stated):
        # The sum of the bytes, the checksum itself as spaces. Adler-32's lower half is a sum, too
        # (plus 1, modulo 65521), and ten times as fast.
        total = int(stated.strip(b" \0") or b"0", 8) - 8 * ord(" ") + sum(stated)
        if (zlib.adler32(header) & 0xFFFF) == (1 + total) % 65521:
            return header
    if stream.last:
        raise FolioError(
            f"{stream.path.name}: damaged after member {stream.last}; fetch the file again"
        )
    raise _not_tar(stream.path)


def _extra_header(stream: _Stream, kind: bytes, size: int, limits: Limits) -> dict[bytes, bytes]:
    if size > limits.header:
        raise FolioError(f"{stream.path.name}: a header of {size:,} bytes; refused")
    data = stream.take(size + -size % BLOCK)[:size]
    if kind == LONG_NAME:
        return {b"path": data.rstrip(b"\0")}
    if kind == LONG_LINK:
        return {}  # the link itself follows and is refused by its name
    records = _pax_records(stream.path, data)
    if kind == PAX:
        return records
    if records.keys() & {b"path", b"size"}:
        raise FolioError(f"{stream.path.name}: gives all its members one name or size; refused")
    return {}


def _pax_records(path: Path, data: bytes) -> dict[bytes, bytes]:
    """{key: value} of lines `length key=value`."""
    records: dict[bytes, bytes] = {}
    while data:
        digits, _, _ = data.partition(b" ")
        length = _decimal(path, digits)
        key, equals, value = data[len(digits) + 1 : length - 1].partition(b"=")
        if not equals or data[length - 1 : length] != b"\n":
            raise FolioError(f"{path.name}: a damaged pax header; fetch the file again")
        records[key] = value
        data = data[length:]
    return records


def _number(path: Path, digits: bytes) -> int:
    """A header's number: octal text, or base 256 where the first bit is set."""
    if digits[0] & 0x80:
        return int.from_bytes(digits[1:])
    if not OCTAL.fullmatch(digits):
        raise FolioError(f"{path.name}: {digits!r} where a size should be; fetch the file again")
    return int(digits.strip(b" \0") or b"0", 8)


def _decimal(path: Path, digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 20:
        raise FolioError(f"{path.name}: a damaged pax header; fetch the file again")
    return int(digits)


def _own_name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    prefix = header[345:500].partition(b"\0")[0] if header[257:263] == b"ustar\0" else b""
    return prefix + b"/" + name if prefix else name


def _name(path: Path, raw: bytes) -> str:
    """A plain relative name, or FolioError."""
    try:
        name = raw.decode()
    except UnicodeDecodeError:
        raise refusal(path, repr(raw), "is not named in UTF-8") from None
    return plain_name(path, name)


def _cut_short(path: Path) -> FolioError:
    return FolioError(f"{path.name}: ends too early (truncated); fetch the file again")


def _not_tar(path: Path) -> FolioError:
    return FolioError(f"{path.name}: is not a tar archive; give a .tar or .tar.gz")
