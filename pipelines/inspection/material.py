"""What is at a path: which reader reads it, in which encoding, separated by what."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.declaration.section_base import MOST_LABELS
from pipelines.errors import FolioError, UsageError
from pipelines.files.names import refuse_not_utf8, unsafe
from pipelines.inspection.encodings import encoding_of
from pipelines.readers.archives import read_members
from pipelines.readers.cleaning import composed
from pipelines.readers.csv_rows import DELIMITERS, cells_of
from pipelines.readers.file_names import is_junk
from pipelines.readers.labelled_folders import ARCHIVES, is_labelled
from pipelines.readers.packed import File, unpacked
from pipelines.readers.tables import CSV, JSON_LINES, PARQUET
from pipelines.source.own_folders import matched
from pipelines.store.artifacts import Artifact

FIRST_BYTES = 2**18  # of a file, to see what it is
TEXTS_OF_A_FOLDER = 10  # whose name is a label; an author has fewer novels
SHOWN_LINES = 200  # in which the delimiter is looked for
TABLES = {"csv": CSV, "jsonl": JSON_LINES, "parquet": PARQUET}
TEXTS = (".txt", ".text", ".md", ".rst", ".markdown")
# First bytes of files that people give in place of texts.
OTHERS = {
    b"%PDF": "a PDF; save its text",
    b"\xd0\xcf\x11\xe0": "an Office document; save it as CSV or text",
    b"PK\x03\x04": "an Office document or an archive in an archive; save it as CSV or text",
    b"SQLite format 3": "an SQLite database; save a table of it as CSV",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"\x89PNG": "an image",
}
# Files in such documents, which are zips.
PARTS = {
    "[Content_Types].xml": "an Office document; save it as CSV or text",
    "META-INF/manifest.xml": "an OpenDocument file; save it as CSV or text",
    "META-INF/container.xml": "an e-book; save its text",
}


@dataclass(frozen=True)
class Material:
    """What is at a path, as the declaration will name it."""

    path: Path
    source: Artifact
    reader: str
    names: list[str]  # of the files, those in archives too
    size: int  # in bytes, packed or not
    encoding: str | None = None  # to be declared
    delimiter: str | None = None
    glob: str | None = None
    labels: list[str] | None = None  # the names of the folders, if these are the labels


def material_at(path: Path) -> Material:
    """Raises FolioError or UsageError if there is nothing that a reader reads."""
    source = local_source(path)
    size = sum(file.stat().st_size for file in source.files())
    if names := _labelled(source):
        return Material(path, source, "labelled-folders", names, size)
    if folders := _named_folders(source):
        names = [name for names in folders.values() for name in names]
        return Material(path, source, "labelled-folders", names, size, labels=sorted(folders))
    files = [one for one in unpacked(source.files(), source.path, Counter()) if _wanted(one)]
    if office := next((one.name for one in files if one.name in PARTS), None):
        raise FolioError(f"{path}: {PARTS[office]}")
    if not files:
        raise FolioError(f"{path}: no files with texts")
    reader, files = _reader_of(files)
    first = files[0].name
    names = [file.name for file in files]
    if reader == "parquet":
        return Material(path, source, reader, names, size)
    data = first_bytes(files[0])
    encoding = encoding_of(data, first)
    text = data.decode(encoding or "utf-8-sig", errors="replace")
    delimiter = _delimiter(text) if reader == "csv" else None
    return Material(path, source, reader, names, size, encoding, delimiter, _glob(reader, names))


def local_source(path: Path) -> Artifact:
    """The files at a path, or that a pattern matches, in the place of a source stage's; nothing is
    copied."""
    refuse_not_utf8(path, "path")
    if pattern := matched(path):
        folder, names = pattern[0], [str(file.relative_to(pattern[0])) for file in pattern[1]]
    elif path.is_file():
        folder, names = path.parent, [path.name]
    elif path.is_dir():
        found = (Path(parent, name) for parent, _, files in os.walk(path) for name in files)
        folder, names = path, sorted(str(file.relative_to(path)) for file in found)
    else:
        raise UsageError(f"{path}: no such file or folder")
    if wrong := next((name for name in names if unsafe(name)), None):
        raise UsageError(f"{str(folder / wrong)!a}: its name {unsafe(wrong)}; rename it")
    if not names:
        raise UsageError(f"{path}: an empty folder")
    return Artifact("source", "", folder, {"files": {name: {} for name in names}})


def first_bytes(file: File, most: int = FIRST_BYTES) -> bytes:
    with file.open() as stream:
        return stream.read(most)


def _wanted(file: File) -> bool:
    return not is_junk(file.name)


def _labelled(source: Artifact) -> list[str]:
    """The texts in labelled folders, also in an archive; none if it has another layout."""
    files = source.files()
    if len(files) == 1 and files[0].name.lower().endswith(ARCHIVES):
        names = [name for name, _ in read_members(files[0], lambda name: False)]
    else:
        names = list(_names(source))
    return [name for name in names if is_labelled(name)]


def _named_folders(source: Artifact) -> dict[str, list[str]] | None:
    """{folder: its texts}, if there are several and each has many: the folders are labels."""
    folders: dict[str, list[str]] = {}
    for name in _names(source):
        *above, folder, file = ["", *name.split("/")]
        if is_junk(name) or not file.endswith(".txt"):
            continue
        if len(above) < 1 or not folder:
            return None  # a text that is in no folder
        folders.setdefault(composed(folder), []).append(name)
    many = 2 <= len(folders) <= MOST_LABELS
    return folders if many and min(map(len, folders.values())) >= TEXTS_OF_A_FOLDER else None


def _names(source: Artifact) -> Iterator[str]:
    try:
        yield from (file.name for file in unpacked(source.files(), source.path, Counter()))
    except FolioError:  # said by those who open the files
        return


def _reader_of(files: list[File]) -> tuple[str, list[File]]:
    """That of most files, and those that it reads."""
    kinds = {file.name: _kind_of(file.name) for file in files}
    named = Counter(kind for kind in kinds.values() if kind)
    kind = named.most_common(1)[0][0] if named else None
    if kind is None or (kind == "files" and len(files) == 1):
        kind = _kind_of_bytes(files[0], first_bytes(files[0]), kind)
        return ("text" if kind == "files" and len(files) == 1 else kind), files
    chosen = [file for file in files if kinds[file.name] == kind]
    if kind == "files":
        ending = Counter(_ending(file.name) for file in chosen).most_common(1)[0][0]
        chosen = [file for file in chosen if _ending(file.name) == ending]
    return _kind_of_bytes(chosen[0], first_bytes(chosen[0]), kind), chosen


def _kind_of(name: str) -> str | None:
    """What a file's name says that it is."""
    ending = _ending(name)
    found = next((kind for kind, endings in TABLES.items() if ending in endings), None)
    return found or ("files" if ending in TEXTS else None)


def _ending(name: str) -> str:
    return Path(name).suffix.lower()


def _kind_of_bytes(file: File, data: bytes, named: str | None) -> str:
    """What the first bytes say. Raises FolioError for what is no text."""
    if data.startswith(b"PAR1"):
        return "parquet"
    if other := next((what for start, what in OTHERS.items() if data.startswith(start)), None):
        raise FolioError(f"{file.name}: {other}")
    if not data.strip():
        raise FolioError(f"{file.name}: the file is empty")
    if b"\0" in data and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FolioError(f"{file.name}: not text; give CSV, JSON lines, Parquet or text files")
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"{") and named != "files":
        return "jsonl"
    if start.startswith(b"[") and named == "jsonl":
        raise FolioError(f"{file.name}: one JSON array; write one object a line")
    if named:
        return named
    text = data.decode(encoding_of(data, file.name) or "utf-8-sig", errors="replace")
    return "csv" if _consistent(_lines(text), _delimiter(text)) else "files"


def _lines(text: str) -> list[str]:
    lines = text.splitlines()[:SHOWN_LINES]
    return [line for line in lines[: max(len(lines) - 1, 1)] if line.strip()]


def _delimiter(text: str) -> str:
    """The one that most rows have as often as the first."""
    shares = {mark: _agreement(text, mark) for mark in DELIMITERS}
    return max(shares, key=lambda mark: shares[mark])


def _agreement(text: str, mark: str) -> tuple[float, int]:
    """(share of rows with as many fields as the first, number of these); (0, 0) for one field."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("#")]
    widths = []
    try:
        for row in csv.reader(lines[: SHOWN_LINES + 1], delimiter=mark):
            widths += [len(row)] if row else []
    except csv.Error:
        pass
    widths = widths[:-1] if len(widths) > 2 else widths  # the last may be cut
    if not widths or widths[0] < 2:
        return 0.0, 0
    return widths.count(widths[0]) / len(widths), widths[0]


def _consistent(lines: list[str], mark: str) -> bool:
    """Whether all lines look like rows of a table."""
    widths = {len(cells_of(line, mark)) for line in lines}
    return len(lines) > 1 and len(widths) == 1 and widths.pop() > 1


def _glob(reader: str, names: list[str]) -> str | None:
    """Which files of a folder are texts, if the default does not say so."""
    if reader != "files":
        return None
    endings = set(map(_ending, names))
    if endings == {".txt"}:
        return None
    return f"**/*{endings.pop()}" if len(endings) == 1 else "**/*"
