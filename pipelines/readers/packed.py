"""The files of a source, and those inside .gz, .bz2, .xz, .zst and .zip, as one kind of object.

Nothing is unpacked to disk. What a file is follows from its first bytes, not from its name. Sizes
are limited, so a hostile archive costs bounded time and memory.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any

from pipelines.errors import FolioError
from pipelines.readers.archives import LIMITS, Limits
from pipelines.readers.file_names import JUNK, is_junk, plain_name

ZIP = "zip"
FIRST_BYTES = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": ZIP,
    b"PK\x05\x06": ZIP,  # an empty one
}
ENDINGS = (".gz", ".bz2", ".xz", ".zst", ".zip")
TAR_AT, TAR = 257, b"ustar"
SNIFFED = TAR_AT + len(TAR)  # bytes
DAMAGED: tuple[type[Exception], ...] = (
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
)


@dataclass(frozen=True)
class File:
    """A file to read, plain or packed. `name` is that of the unpacked file, with folders."""

    name: str
    path: Path
    packing: str | None = None
    member: str | None = None  # of a zip
    limits: Limits = LIMITS

    def open(self) -> io.BufferedReader[Any]:
        """Its bytes, unpacked. Reading raises FolioError if they are damaged or too many."""
        if self.packing is None:
            return self.path.open("rb")
        try:
            stream, packed = self._stream()
        except DAMAGED as error:
            raise _damaged(self, error) from error
        most = min(self.limits.total, max(self.limits.ratio_from, self.limits.ratio * packed))
        file = io.BufferedReader(_Bounded(self, stream, most), 2**20)
        with ExitStack() as closing:
            closing.callback(file.close)
            if inner := _packing(file.peek(SNIFFED)[:SNIFFED]):
                what = f"{_article(inner)} inside an archive"
                raise FolioError(f"{self.name}: {what}; unpack it first")
            closing.pop_all()
        return file

    def _stream(self) -> tuple[IO[bytes], int]:
        """And how many bytes are packed."""
        if self.member is not None:
            archive = _archive(self.path, self.path.stat().st_mtime_ns)
            info = archive.getinfo(self.member)
            return archive.open(info), info.compress_size
        return OPENERS[str(self.packing)](self.path), self.path.stat().st_size

    @property
    def size(self) -> int | None:
        """In bytes; None for a packed file."""
        return self.path.stat().st_size if self.packing is None else None


def _zstandard(path: Path) -> IO[bytes]:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "zstd")


OPENERS: dict[str, Callable[[Path], Any]] = {
    "gzip": partial(gzip.open, mode="rb"),
    "bzip2": partial(bz2.open, mode="rb"),
    "xz": partial(lzma.open, mode="rb"),
    "Zstandard": _zstandard,
}


def unpacked(paths: Iterable[Path], root: Path, ignored: Counter[str]) -> list[File]:
    """The files at these paths, and those inside them, in order. Raises FolioError for a tar
    archive, and for a zip that is damaged, encrypted, or has names that lead out of it."""
    paths = list(paths)
    found = [file for path in paths for file in _files(path, root, len(paths) == 1, ignored)]
    name, times = Counter(file.name for file in found).most_common(1)[0] if found else ("", 1)
    if times > 1:
        raise FolioError(f"the source has two files {name}, packed or not; keep one of them")
    return found


def _files(path: Path, root: Path, alone: bool, ignored: Counter[str]) -> Iterator[File]:
    name = path.relative_to(root).as_posix()
    with path.open("rb") as file:
        packing = _packing(file.read(SNIFFED))
    if packing is None:
        yield File(name, path)
    elif packing == ZIP:
        for member in zip_files(path, name, ignored):
            yield member if alone else replace(member, name=f"{name}/{member.name}")
    elif packing == "tar":
        raise FolioError(
            f"{name}: a tar archive, which only reader labelled-folders reads; unpack it, or give "
            "the files in a .zip"
        )
    else:
        plain = name.removesuffix(path.suffix) if path.suffix.lower() in ENDINGS else name
        yield File(plain, path, packing)


@lru_cache(1)
def _archive(path: Path, changed: int) -> zipfile.ZipFile:
    """Kept open, so that its list of members is not read again for each of them."""
    return zipfile.ZipFile(path)


def is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return _packing(file.read(SNIFFED)) == ZIP


def zip_files(path: Path, name: str, ignored: Counter[str]) -> Iterator[File]:
    """The files in a zip, without those that systems add. Raises FolioError if it is damaged,
    encrypted, or has names that lead out of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except DAMAGED as error:
        raise FolioError(f"{name}: not a complete zip archive ({error})") from error
    if len(infos) > LIMITS.members:
        raise FolioError(f"{name}: more than {LIMITS.members:,} members; refused")
    whole = sum(info.file_size for info in infos)
    if whole > min(LIMITS.total, max(LIMITS.ratio_from, LIMITS.ratio * path.stat().st_size)):
        raise FolioError(f"{name}: unpacks to {whole:,} bytes, as no text does; refused")
    for info in infos:
        plain = plain_name(path, info.filename)
        if is_junk(info.filename):
            ignored[JUNK] += 1
        elif info.flag_bits & 1:
            raise FolioError(
                f"{name}: {info.filename[:200]} is encrypted; unpack it with its password, and "
                "give the files"
            )
        else:
            yield File(plain, path, ZIP, info.filename)


def _packing(first: bytes) -> str | None:
    """What the first bytes of a file say that it is; None if it is not packed."""
    if first[TAR_AT:] == TAR:
        return "tar"
    found = next((kind for start, kind in FIRST_BYTES.items() if first.startswith(start)), None)
    return None if found == "bzip2" and first[4:10] != b"1AY&SY" else found


class _Bounded(io.RawIOBase):
    """A stream with a limit, whose errors name the file."""

    def __init__(self, file: File, stream: IO[bytes], most: int) -> None:
        self._file, self._stream, self._left = file, stream, most

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._stream.read(len(buffer))
        except DAMAGED as error:
            raise _damaged(self._file, error) from error
        self._left -= len(data)
        if self._left < 0:
            raise FolioError(
                f"{self._file.path.name}: {self._file.name} unpacks to more than "
                f"{self._file.limits.ratio} times its size, as no text does; refused"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _damaged(file: File, error: Exception) -> FolioError:
    return FolioError(
        f"{file.path.name}: the {file.packing} data is damaged or incomplete "
        f"({str(error)[:200] or type(error).__name__}); fetch the file again"
    )


def _article(packing: str) -> str:
    return f"a {packing} archive" if packing in (ZIP, "tar") else f"{packing} data"
