"""Raw files to documents, one at a time: a long text, a folder of files, CSV, labelled folders.

Every reader is `read(source, spec, notes) -> Iterator[Document]` and returns the documents in an
order that depends only on the files. Documents that cannot be used are returned with a reason;
files that are not documents are counted in `notes.ignored`. Readers of many short documents are in
`short_readers`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Container, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError, did_you_mean
from pipelines.readers.archives import LIMITS, read_members
from pipelines.readers.cleaning import STRAY, composed, decoded, excerpt, unix_lines, without_tags
from pipelines.readers.csv_rows import checked_rows, long_fields
from pipelines.readers.documents import (
    EMPTY,
    JUNK,
    NO_LABEL,
    NOT_UTF8,
    Document,
    Notes,
    Reader,
    is_junk,
    matching_files,
    source_files,
)
from pipelines.readers.frames import body
from pipelines.readers.short_readers import read_lines, read_paragraphs, read_records
from pipelines.store.artifacts import Artifact

MAX_TEXT_BYTES = 512 * 2**20  # a text is held in memory whole
ARCHIVES = (".tar", ".tar.gz", ".tgz")
FOLDER = re.compile(r"(?:(?P<home>.+)/)?(?P<part>train|test)(?:/(?P<label>pos|neg|unsup))?")
FILM_LIST = re.compile(r"urls_(pos|neg)\.txt")
NUMBERED = re.compile(r"(.+)/(\d+)_\d+")
FILM = re.compile(r"tt\d+")  # IMDb's title number in a film's address
OTHER_LABELS = 10  # number of distinct invalid labels to remember


def read(source: Artifact, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    """The documents of `source`, their texts composed. Raises FolioError for files that do not
    match `spec`."""
    for document in READERS[spec.reader](source, spec, notes):
        text = document.text if document.reason else composed(document.text)
        notes.composed += text != document.text
        yield document._replace(text=text) if text is not document.text else document


def _read_text(source: Artifact, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    files = source_files(source, notes)
    if len(files) > 1:
        names = ", ".join(path.name for path in files[:3])
        raise FolioError(
            f"corpus.reader text needs one file, the source has {len(files)} ({names}…); "
            "use reader files"
        )
    yield _whole_text(files[0], files[0].name, spec, notes)


def _read_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    for path in matching_files(source, spec, notes):
        yield _whole_text(path, path.relative_to(source.path).as_posix(), spec, notes)


def _whole_text(path: Path, name: str, spec: CorpusSpec, notes: Notes) -> Document:
    size = path.stat().st_size
    if size > MAX_TEXT_BYTES:
        raise FolioError(
            f"{name}: {size:,} bytes; the limit for a text is {MAX_TEXT_BYTES:,}. Split "
            "it into several files and use reader files"
        )
    data = path.read_bytes()
    text = decoded(data)
    if text is None:
        return Document(name, excerpt(data), reason=NOT_UTF8)
    text = body(text, spec, name, notes)
    return Document(name, text, reason=None if text.strip() else EMPTY)


def _read_labelled_folders(source: Artifact, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    homes: set[str | None] = set()
    seen: set[str] = set()
    labels = ("pos", "neg", "unsup") if spec.split == "within-train" else ("pos", "neg")
    for path, data in _labelled_files(source, labels, notes):
        folder, _, name = path.rpartition("/")
        place = _folder(folder)
        if data is None or place is None:
            notes.ignored[_why_ignored(place, path)] += 1
        elif place["label"] is None:
            addresses = data.decode(errors="replace").splitlines()
            notes.films[f"{place['part']}/{name[5:8]}"] = [_film(line) for line in addresses]
        else:
            homes.add(place["home"])
            if len(homes) > 1:
                raise FolioError(
                    f"two corpora in one source: {' and '.join(map(str, homes))}; reader "
                    "labelled-folders needs exactly one"
                )
            review = _review(name.removesuffix(".txt"), data, place, spec.labelled)
            if review.id in seen:
                raise FolioError(
                    f"the source has two documents named {review.id}; keep one of them"
                )
            seen.add(review.id)
            yield review
    if not homes:
        raise FolioError(
            f"{source_files(source, notes)[0].name}: contains no train/pos/*.txt, "
            "train/neg/*.txt, test/…; reader labelled-folders needs that layout, as "
            "plain folders or in a .tar.gz"
        )


@lru_cache(64)
def _folder(path: str) -> dict[str, str | None] | None:
    """What a folder's name means for its files: home, part and label."""
    found = FOLDER.fullmatch(path)
    return found.groupdict() if found else None


def _is_of_use(path: str, labels: Container[str | None]) -> bool:
    """Whether it is a review in a folder of `labels`, or a list of films."""
    folder, _, name = path.rpartition("/")
    place = _folder(folder)
    if place is None or not name.endswith(".txt") or is_junk(path):
        return False
    return place["label"] in labels or (
        place["label"] is None and FILM_LIST.fullmatch(name) is not None
    )


def _why_ignored(place: dict[str, str | None] | None, path: str) -> str:
    if is_junk(path):
        return JUNK
    if place and place["label"] == "unsup" and path.endswith(".txt"):
        return f"{place['part']}/unsup (not labelled)"
    return "other files"


def _labelled_files(
    source: Artifact, labels: Container[str | None], notes: Notes
) -> Iterator[tuple[str, bytes | None]]:
    """(name, content if it is needed) of all files, in archives or plain."""
    files, wanted = source_files(source, notes), partial(_is_of_use, labels=labels)
    for path in files:
        name = path.relative_to(source.path).as_posix()
        if name.endswith(ARCHIVES) or (len(files) == 1 and not wanted(name)):
            yield from read_members(path, wanted)
        elif not wanted(name):
            yield name, None
        elif path.stat().st_size > LIMITS.member:
            raise FolioError(f"{name}: more than {LIMITS.member:,} bytes, too long for a review")
        else:
            yield name, path.read_bytes()


def _film(address: str) -> str:
    found = FILM.search(address)
    return found[0] if found else address.strip()


def _review(name: str, data: bytes, place: dict[str, str | None], labelled: bool) -> Document:
    part, folder = place["part"], place["label"]
    name, label = f"{part}/{folder}/{name}", float(folder == "pos") if labelled else None
    text = decoded(data)
    if text is None:
        return Document(name, excerpt(data), label, None, part, NOT_UTF8)
    text = without_tags(text)
    return Document(name, text, label, None, part, None if text.strip() else EMPTY)


def film_of(document: str, films: dict[str, list[str]]) -> str | None:
    """The film of review `train/pos/12_9`: line 12, from 0, of `train/urls_pos.txt`.

    None if the line is blank; FolioError if there is no such line.
    """
    numbered = NUMBERED.fullmatch(document)
    if numbered is None:
        raise FolioError(
            f"{document}.txt: corpus.group film requires names like 12_9.txt; rename the "
            "file or remove corpus.group"
        )
    folder, line = numbered[1], int(numbered[2])
    listed = films.get(folder, [])
    if line >= len(listed):
        where = folder.replace("/", "/urls_") + ".txt"
        raise FolioError(
            f"{document}.txt: corpus.group film needs line {line + 1} of {where}, which "
            f"has {len(listed)}; add the list or remove corpus.group"
        )
    return listed[line] or None


def _read_csv(source: Artifact, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    files = source_files(source, notes)
    tables = [path for path in files if path.suffix.lower() == ".csv"] or files
    notes.ignored["other files"] += len(files) - len(tables)
    with long_fields():
        for path in tables:
            yield from _csv_documents(path, path.relative_to(source.path).as_posix(), spec, notes)


def _csv_documents(path: Path, name: str, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file, strict=True)
        header = next(checked_rows(rows, name), None)
        if not header:
            raise FolioError(
                f"{name}: the file is empty; its first row must contain the column names"
            )
        text_at = _column(header, spec.text_column, name, "corpus.text_column")
        label_at = (
            _column(header, spec.label_column, name, "corpus.label_column")
            if spec.label_column
            else None
        )
        group_at = _column(header, spec.group, name, "corpus.group") if spec.group else None
        number = 0
        for row in checked_rows(rows, name, len(header)):
            if not row:
                notes.ignored["blank lines"] += 1
                continue
            number += 1
            row += [""] * (len(header) - len(row))
            group = None if group_at is None else row[group_at].strip() or None
            label = None if label_at is None else row[label_at].strip()
            yield _csv_document(f"{name}:{number}", row[text_at], label, group, spec.labels, notes)


def _column(header: Sequence[str], wanted: str, name: str, key: str) -> int:
    columns = [STRAY.sub("\N{REPLACEMENT CHARACTER}", column).strip() for column in header]
    if columns.count(wanted) == 1:
        return columns.index(wanted)
    hint = did_you_mean(wanted, columns)
    count = "two columns" if wanted in columns else "no column"
    raise FolioError(f"{name}: {count} {wanted!r} ({key}) among {', '.join(columns)[:200]}{hint}")


def _csv_document(
    name: str,
    text: str,
    label: str | None,
    group: str | None,
    labels: tuple[str, str],
    notes: Notes,
) -> Document:
    if any(STRAY.search(part) for part in (text, label or "", group or "") if not part.isascii()):
        return Document(
            name, excerpt(text[:200].encode(errors="surrogateescape")), None, None, None, NOT_UTF8
        )
    text = without_tags(unix_lines(text))
    if label is None:
        return Document(name, text, None, group, None, None if text.strip() else EMPTY)
    if label not in labels:
        if label and (label in notes.other_labels or len(notes.other_labels) < OTHER_LABELS):
            notes.other_labels[label] += 1
        return Document(name, text, None, group, None, NO_LABEL)
    value = float(labels.index(label))
    return Document(name, text, value, group, None, None if text.strip() else EMPTY)


READERS: dict[str, Reader] = {
    "text": _read_text,
    "files": _read_files,
    "csv": _read_csv,
    "labelled-folders": _read_labelled_folders,
    "lines": read_lines,
    "paragraphs": read_paragraphs,
    "tfds": read_records,
}
