"""What every reader returns, and how it finds the source's files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError, UsageError
from pipelines.store.artifacts import Artifact

JUNK = "files of the system (such as .DS_Store)"
JUNK_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}
JUNK_FOLDERS = {"__MACOSX", ".ipynb_checkpoints"}
CASES = re.compile(r"\[[^]]*\]|[A-Za-z]")  # sets, which stay as they are, and letters
EMPTY, NOT_UTF8, NO_LABEL = "empty", "not-utf8", "no-label"


class Document(NamedTuple):
    """`text` is clean; with a `reason` for quarantine, it is the beginning of the bytes."""

    id: str
    text: str
    label: float | None = None
    group: str | None = None
    part: str | None = None  # train or test, if the source defines it
    reason: str | None = None


@dataclass
class Notes:
    """What a reader found besides documents."""

    ignored: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)  # as declared
    other_labels: Counter[str] = field(default_factory=Counter)
    composed: int = 0  # documents that were not in Unicode's normal form C
    doubts: list[str] = field(default_factory=list)  # lines that may belong to a licence frame
    films: dict[str, list[str]] = field(default_factory=dict)  # train/pos: film of each line


Reader = Callable[[Artifact, CorpusSpec, Notes], Iterator[Document]]


def source_files(source: Artifact, notes: Notes) -> list[Path]:
    """All data files, in an order that does not depend on the file system; files that systems add
    are counted."""
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


def is_junk(name: str) -> bool:
    """Whether a file with this path was added by a system or an editor: it is no document."""
    *folders, file = name.split("/")
    return file.startswith("._") or file in JUNK_FILES or not JUNK_FOLDERS.isdisjoint(folders)


def matching_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[Path]:
    """Those that `corpus.glob` matches in any case (ONE.TXT), in order. Raises FolioError if there
    are none."""
    files, root = source_files(source, notes), source.path
    if ".." in Path(spec.glob).parts or spec.glob.startswith("/") or not spec.glob:
        raise UsageError(
            f"corpus.glob {spec.glob!r}: give a pattern within the source's folder, such "
            "as **/*.txt"
        )
    matching = set(files).intersection(root.glob(_of_any_case(spec.glob)))
    if not matching:
        raise FolioError(
            f"corpus.glob {spec.glob!r} matches none of the source's {len(files)} files "
            f"(such as {files[0].relative_to(root)}); fix it, or give a folder with such "
            "files"
        )
    notes.ignored["other files"] += len(set(files) - matching)
    return sorted(matching)


def _of_any_case(glob: str) -> str:
    """`*.[tT][xX][tT]` for `*.txt`; from Python 3.12 on, `glob` has an argument for this."""
    return CASES.sub(
        lambda found: f"[{found[0].lower()}{found[0].upper()}]" if len(found[0]) == 1 else found[0],
        glob,
    )
