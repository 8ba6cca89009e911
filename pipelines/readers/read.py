"""Raw files to documents, one at a time: a long text, a folder of files, labelled folders.

Every reader is `read(source, spec, notes) -> Iterator[Document]` and returns the documents in an
order that depends only on the files. Documents that cannot be used are returned with a reason;
files that are not documents are counted in `notes.ignored`. Readers of many short documents are in
`short_readers`, those of tables in `tables`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator
from functools import lru_cache, partial
from pathlib import Path

from pipelines.declaration.data_sections import TEST, TRAIN, UNLABELLED
from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.archives import LIMITS, read_members
from pipelines.readers.cleaning import composed, decoded, excerpt, without_tags
from pipelines.readers.documents import (
    EMPTY,
    Document,
    Notes,
    Reader,
    matching_files,
    source_files,
    source_paths,
    undecodable,
)
from pipelines.readers.file_names import JUNK, is_junk
from pipelines.readers.frames import body
from pipelines.readers.packed import File, is_zip, zip_files
from pipelines.readers.short_readers import read_lines, read_paragraphs, read_records
from pipelines.readers.tables import read_csv, read_jsonl, read_parquet
from pipelines.store.artifacts import Artifact

MAX_TEXT_BYTES = 512 * 2**20  # a text is held in memory whole
ARCHIVES = (".tar", ".tar.gz", ".tgz")
FOLDER = re.compile(r"(?:(?P<home>.+)/)?(?P<part>train|test)(?:/(?P<label>pos|neg|unsup))?")
FILM_LIST = re.compile(r"urls_(pos|neg)\.txt")
NUMBERED = re.compile(r"(.+)/(\d+)_\d+")
FILM = re.compile(r"tt\d+")  # IMDb's title number in a film's address


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
        names = ", ".join(file.name for file in files[:3])
        raise FolioError(
            f"corpus.reader text needs one file, the source has {len(files)} ({names}…); "
            "use reader files"
        )
    yield _whole_text(files[0], spec, notes)


def _read_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    for file in matching_files(source_files(source, notes), spec, notes):
        yield _whole_text(file, spec, notes)


def _whole_text(file: File, spec: CorpusSpec, notes: Notes) -> Document:
    size = MAX_TEXT_BYTES if file.size is None else file.size
    if size <= MAX_TEXT_BYTES:
        with file.open() as stream:
            data = stream.read(size + 1)  # as much memory is reserved
        size = len(data)
    if size > MAX_TEXT_BYTES:
        raise FolioError(
            f"{file.name}: {size:,} bytes; the limit for a text is {MAX_TEXT_BYTES:,}. Split "
            "it into several files and use reader files"
        )
    text = decoded(data, spec.encoding)
    if text is None:
        return Document(file.name, excerpt(data, spec.encoding), reason=undecodable(spec))
    text = body(text, spec, file.name, notes)
    return Document(file.name, text, reason=None if text.strip() else EMPTY)


def _read_labelled_folders(source: Artifact, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    homes: set[str | None] = set()
    seen: set[str] = set()
    every = spec.split == "within-train" or spec.unlabelled
    labels = ("pos", "neg", "unsup") if every else ("pos", "neg")
    for path, data in _labelled_files(source, partial(_is_of_use, labels=labels), notes):
        folder, _, name = path.rpartition("/")
        place = _folder(folder)
        if data is None or place is None or (spec.unlabelled and folder.endswith("test/unsup")):
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
            review = _review(name.removesuffix(".txt"), data, place, spec)
            if review.id in seen:
                raise FolioError(
                    f"the source has two documents named {review.id}; keep one of them"
                )
            seen.add(review.id)
            yield review
    if not homes:
        notes.ignored.clear()  # they are counted again
        yield from _read_named_folders(source, spec, notes)


def _read_named_folders(source: Artifact, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    """Texts in folders that are named as the labels, also below `train` and `test`."""
    numbers = {label: float(number) for number, label in enumerate(spec.labels or ())}

    def wanted(path: str) -> bool:
        named = composed(path.rpartition("/")[0].rpartition("/")[2]) in numbers
        return named and path.endswith(".txt") and not is_junk(path)

    found = False
    for path, data in _labelled_files(source, wanted, notes):
        if data is None:
            notes.ignored[_why_ignored(None, path)] += 1
            continue
        found = True
        *above, folder, _ = path.split("/")
        part = next((name for name in (TRAIN, TEST) if name in above), None)
        yield _labelled(path, data, numbers[composed(folder)], part, spec)
    if not found:
        raise FolioError(
            f"{source_paths(source, Notes())[0].name}: contains no train/pos/*.txt, "
            "train/neg/*.txt, test/…, nor texts in folders named as corpus.labels; reader "
            "labelled-folders needs one of these, as plain folders or in a .tar.gz or .zip"
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


def is_labelled(path: str) -> bool:
    """Whether a file with this path is a text of the labelled folders."""
    place = _folder(path.rpartition("/")[0])
    is_text = path.endswith(".txt") and not is_junk(path)
    return is_text and place is not None and place["label"] in ("pos", "neg")


def _why_ignored(place: dict[str, str | None] | None, path: str) -> str:
    if is_junk(path):
        return JUNK
    if place and place["label"] == "unsup" and path.endswith(".txt"):
        return f"{place['part']}/unsup (not labelled)"
    return "other files"


def _labelled_files(
    source: Artifact, wanted: Callable[[str], bool], notes: Notes
) -> Iterator[tuple[str, bytes | None]]:
    """(name, content if it is wanted) of all files, in archives or plain."""
    files = source_paths(source, notes)
    for path in files:
        name = path.relative_to(source.path).as_posix()
        if name.endswith(".zip") or (len(files) == 1 and is_zip(path)):
            yield from _zipped(path, name, wanted, notes)
        elif name.endswith(ARCHIVES) or (len(files) == 1 and not wanted(name)):
            yield from read_members(path, wanted)
        elif not wanted(name):
            yield name, None
        elif path.stat().st_size > LIMITS.member:
            raise FolioError(f"{name}: more than {LIMITS.member:,} bytes, too long for a review")
        else:
            yield name, path.read_bytes()


def _zipped(
    path: Path, name: str, wanted: Callable[[str], bool], notes: Notes
) -> Iterator[tuple[str, bytes | None]]:
    for file in zip_files(path, name, notes.ignored):
        if not wanted(file.name):
            yield file.name, None
            continue
        with file.open() as stream:
            data = stream.read(LIMITS.member + 1)
        if len(data) > LIMITS.member:
            raise FolioError(f"{name}: {file.name}: more than {LIMITS.member:,} bytes, too long")
        yield file.name, data


def _film(address: str) -> str:
    found = FILM.search(address)
    return found[0] if found else address.strip()


def _review(name: str, data: bytes, place: dict[str, str | None], spec: CorpusSpec) -> Document:
    part, folder = place["part"], place["label"]
    name, label = f"{part}/{folder}/{name}", float(folder == "pos") if spec.labelled else None
    if spec.labelled and folder == "unsup":
        label, part = None, UNLABELLED
    return _labelled(name, data, label, part, spec)


def _labelled(
    name: str, data: bytes, label: float | None, part: str | None, spec: CorpusSpec
) -> Document:
    text = decoded(data, spec.encoding)
    if text is None:
        return Document(name, excerpt(data, spec.encoding), label, None, part, undecodable(spec))
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


READERS: dict[str, Reader] = {
    "text": _read_text,
    "files": _read_files,
    "csv": read_csv,
    "jsonl": read_jsonl,
    "parquet": read_parquet,
    "labelled-folders": _read_labelled_folders,
    "lines": read_lines,
    "paragraphs": read_paragraphs,
    "tfds": read_records,
}
