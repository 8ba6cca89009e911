"""Raw files to documents, one at a time.

A reader first lists the files that it would read: what is wrong with the source as a whole is found
there. Then it reads any of them, in their order, and its documents depend only on them. Documents
that cannot be used are returned with a reason; files that are not documents are counted in
`notes.ignored`. Readers of many short documents are in `short_readers`, of tables in `tables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.cleaning import composed, decoded, excerpt
from pipelines.readers.documents import (
    EMPTY,
    Document,
    Notes,
    Reader,
    matching_files,
    source_files,
    undecodable,
)
from pipelines.readers.frames import body
from pipelines.readers.labelled_folders import (
    LABELLED,
    NAMED,
    labelled_files,
    named_files,
    nothing_in,
    read_labelled_folders,
    read_named_folders,
)
from pipelines.readers.packed import File
from pipelines.readers.short_readers import (
    read_lines,
    read_paragraphs,
    read_records,
    record_files,
    text_files,
)
from pipelines.readers.tables import (
    csv_files,
    json_files,
    parquet_files,
    read_csv,
    read_jsonl,
    read_parquet,
)
from pipelines.store.artifacts import Artifact

MAX_TEXT_BYTES = 512 * 2**20  # a text is held in memory whole


def read(source: Artifact, spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    """The documents of `source`, their texts composed. Raises FolioError for files that do not
    match `spec`."""
    for reader in readers(spec, notes):
        yield from documents_of(reader, READERS[reader].files(source, spec, notes), spec, notes)
    check_found(source, spec, notes)


def readers(spec: CorpusSpec, notes: Notes) -> Iterator[str]:
    """The names of the readers to try in turn: asked for the next one, `notes` tell what the last
    one has found."""
    yield spec.reader
    if spec.reader == LABELLED and not notes.homes:
        notes.ignored.clear()  # they are counted again
        yield NAMED


def documents_of(
    reader: str, files: Iterable[File], spec: CorpusSpec, notes: Notes
) -> Iterator[Document]:
    """The documents of these files, their texts composed."""
    for document in READERS[reader].read(files, spec, notes):
        text = document.text if document.reason else composed(document.text)
        notes.composed += text != document.text
        yield document._replace(text=text) if text is not document.text else document


def check_found(source: Artifact, spec: CorpusSpec, notes: Notes) -> None:
    """Raises FolioError if nothing was found where it was looked for."""
    if spec.reader == LABELLED and not notes.homes:
        raise nothing_in(source)


def _only_file(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[File]:
    files = source_files(source, notes)
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:3])
        raise FolioError(
            f"corpus.reader text needs one file, the source has {len(files)} ({names}…); "
            "use reader files"
        )
    return files


def _chosen_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[File]:
    return matching_files(source_files(source, notes), spec, notes)


def _read_texts(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    for file in files:
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


READERS: dict[str, Reader] = {
    "text": Reader(_only_file, _read_texts),
    "files": Reader(_chosen_files, _read_texts),
    "csv": Reader(csv_files, read_csv),
    "jsonl": Reader(json_files, read_jsonl),
    "parquet": Reader(parquet_files, read_parquet),
    LABELLED: Reader(labelled_files, read_labelled_folders),
    NAMED: Reader(named_files, read_named_folders),
    "lines": Reader(text_files, read_lines),
    "paragraphs": Reader(text_files, read_paragraphs),
    "tfds": Reader(record_files, read_records),
}
