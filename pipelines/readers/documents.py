"""What every reader returns, and how it finds the source's files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError, UsageError
from pipelines.readers.file_names import JUNK, is_junk, matcher
from pipelines.readers.labels import FoundLabels
from pipelines.readers.packed import File, unpacked
from pipelines.store.artifacts import Artifact

EMPTY, NOT_UTF8, NO_LABEL = "empty", "not-utf8", "no-label"


def undecodable(spec: CorpusSpec) -> str:
    """The reason for quarantine of a text that is not in the declared encoding."""
    return f"not-{spec.encoding}" if spec.encoding else NOT_UTF8


class Document(NamedTuple):
    """`text` is clean; with a `reason` for quarantine, it is the beginning of the bytes."""

    id: str
    text: str
    label: float | None = None
    group: str | None = None
    part: str | None = None  # the split that the source defines: train, test or unlabelled
    reason: str | None = None


@dataclass
class Notes:
    """What a reader found besides documents."""

    ignored: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)  # as declared
    other_labels: Counter[str] = field(default_factory=Counter)
    labels: FoundLabels = field(default_factory=FoundLabels)  # where none are declared
    composed: int = 0  # documents that were not in Unicode's normal form C
    short_rows: int = 0  # of CSV, with fewer fields than there are columns; the rest is empty
    on_error: Callable[[FolioError], None] | None = None  # what is wrong with a row; or raise it
    doubts: list[str] = field(default_factory=list)  # lines that may belong to a licence frame
    films: dict[str, list[str]] = field(default_factory=dict)  # train/pos: film of each line
    homes: list[str | None] = field(default_factory=list)  # where labelled folders were found

    def found_in(self, home: str | None) -> None:
        """Raises FolioError if documents were found in another home: it is another corpus."""
        if home not in self.homes:
            self.homes.append(home)
        if len(self.homes) > 1:
            raise FolioError(
                f"two corpora in one source: {' and '.join(map(str, self.homes))}; reader "
                "labelled-folders needs exactly one"
            )

    def wrong(self, error: FolioError) -> None:
        if self.on_error is None:
            raise error
        self.on_error(error)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Passes the error of what is inside to `wrong`."""
        try:
            yield
        except FolioError as error:
            if self.on_error is None:
                raise
            self.on_error(error)


class Reader(NamedTuple):
    """`files` lists what there is to read, in an order that depends only on the names; `read` reads
    some of it. Both raise FolioError for what does not match the declaration."""

    files: Callable[[Artifact, CorpusSpec, Notes], list[File]]
    read: Callable[[Iterable[File], CorpusSpec, Notes], Iterator[Document]]


def source_paths(source: Artifact, notes: Notes) -> list[Path]:
    """The paths of all data files, in an order that does not depend on the file system; files that
    systems add are counted."""
    files = source.files()
    found = [path for path in files if not is_junk(path.relative_to(source.path).as_posix())]
    if len(found) < len(files):
        notes.ignored[JUNK] += len(files) - len(found)
    if files and not found:
        raise FolioError(
            f"{files[0].relative_to(source.path)}: the source contains only files that systems "
            "add; give the files themselves"
        )
    if not found:
        raise FolioError(f"{source.path}: the source contains no files; run the source stage again")
    return found


def source_files(source: Artifact, notes: Notes) -> list[File]:
    """All data files, and those inside packed ones."""
    found = unpacked(source_paths(source, notes), source.path, notes.ignored)
    if not found:
        raise FolioError("the source is an archive without files; give one with texts")
    return found


def matching_files(files: list[File], spec: CorpusSpec, notes: Notes) -> list[File]:
    """Those that `corpus.glob` matches, in order. Raises FolioError if there are none."""
    if ".." in Path(spec.glob).parts or spec.glob.startswith("/") or not spec.glob:
        raise UsageError(
            f"corpus.glob {spec.glob!r}: give a pattern within the source's folder, such "
            "as **/*.txt"
        )
    wanted = matcher(spec.glob)
    matching = [file for file in files if wanted.fullmatch(file.name)]
    if not matching:
        raise FolioError(
            f"corpus.glob {spec.glob!r} matches none of the source's {len(files)} files "
            f"(such as {files[0].name}); fix it, or give a folder with such files"
        )
    notes.ignored["other files"] += len(files) - len(matching)
    return sorted(matching, key=lambda file: Path(file.name))
