"""Reads the source in parts: each part is some of its files, and a step of its own.

A step writes the ids and texts of its documents, and a listing: everything that the splits depend
on. The parts follow from the source alone, and come together in the order of its files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.corpus.division.listing import Entries, Listing, shared
from pipelines.corpus.text_cache import (
    EXCERPT_CHARACTERS,
    Piece,
    PieceWriter,
    Texts,
    document_batches,
)
from pipelines.corpus.transform import transformed
from pipelines.declaration.data_sections import UNLABELLED, CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.cleaning import text_digest
from pipelines.readers.documents import Document, Notes
from pipelines.readers.labelled_folders import LABELLED, two_named
from pipelines.readers.packed import File
from pipelines.readers.read import READERS, check_found, documents_of, readers
from pipelines.readers.tables import OTHER_LABELS
from pipelines.steps.step import Done, Step, tell
from pipelines.store.artifacts import Artifact, Workspace
from pipelines.store.own_code import OwnFunction

PART_BYTES, PART_FILES = 32 * 2**20, 2000  # of the source, when a part is full


@dataclass(frozen=True)
class Own:
    """The function `corpus.transform` of the user's own, and its code as the key has it."""

    function: OwnFunction
    fingerprint: dict[str, str]

    @classmethod
    def of(cls, spec: CorpusSpec, folder: str) -> Own | None:
        if not spec.transform:
            return None
        function = OwnFunction("corpus.transform", spec.transform, Path(folder))
        return cls(function, function.fingerprint())

    def check(self) -> None:
        """Raises FolioError if this process would call other code."""
        if self.function.fingerprint() != self.fingerprint:
            raise FolioError(
                f"{self.function.named}: a worker has other code in {self.function.root}; give it "
                "the same"
            )


def read_source(
    source: Artifact, spec: CorpusSpec, notes: Notes, own: Own | None, work: Workspace
) -> tuple[Texts, Listing]:
    """All documents, and what the readers noted. Raises FolioError if there are none."""
    texts, listing = Texts(work.scratch, []), Listing.of_size(0)
    with notes.told():
        for reader in readers(spec, notes):
            parts = portions(READERS[reader].files(source, spec, notes))
            collect = notes.on_error is not None
            common = {"reader": reader, "spec": spec, "own": own, "collect": collect}
            steps = [
                Step(
                    f"{reader}-{number:06}", read_part, {"files": files, "number": number} | common
                )
                for number, files in enumerate(parts)
            ]
            run = work.steps.run
            done = run(work.scratch, steps, work.progress, "parts of the source read", threads=1)
            texts, listing = _together(done, notes, work.scratch)
        check_found(source, spec, notes)
    if spec.reader == LABELLED and len(texts.pieces) > 1:
        _refuse_same_names(texts)
    if not len(listing):
        raise _nothing(notes)
    return texts, listing


def portions(files: Sequence[File]) -> list[list[File]]:
    """Consecutive files, until they are large or many. One file is never divided."""
    members = Counter(file.path for file in files)  # those of a zip have its bytes together
    found: list[list[File]] = []
    size = 0.0
    for file in files:
        if not found or size >= PART_BYTES or len(found[-1]) == PART_FILES:
            found.append([])
            size = 0.0
        found[-1].append(file)
        size += file.path.stat().st_size / members[file.path]
    return found


def read_part(
    place: Path,
    out: Path,
    files: list[File],
    number: int,
    reader: str,
    spec: CorpusSpec,
    own: Own | None,
    collect: bool,
) -> dict[str, Any]:
    """Writes texts/<number>-NNNNNN.arrow and listing/<number>.arrow. With `collect`, what is wrong
    with rows is returned instead of raised."""
    errors: list[str] = []
    notes = Notes(on_error=(lambda error: errors.append(str(error))) if collect else None)
    documents = documents_of(reader, files, spec, notes)
    if own is not None:
        own.check()
        documents = transformed(documents, spec, own.function, notes)
    documents = _of_length(_until_wrong(documents, notes), spec, notes)
    for folder in ("texts", "listing"):
        (out / folder).mkdir()
    texts, listing = PieceWriter(out / "texts", f"{number:06}"), Entries()
    for batch in document_batches(documents):
        for document in batch:
            _enter(listing, document)
        shown = [d.text[:EXCERPT_CHARACTERS] if d.reason else d.text for d in batch]
        texts.write([d.id for d in batch], shown)
        tell(len(listing), None, "documents read")
    texts.close()
    listing.frame().write_ipc(out / "listing" / f"{number:06}.arrow")
    return {"pieces": texts.counts, "errors": errors, "notes": _as_json(notes)}


def _until_wrong(documents: Iterator[Document], notes: Notes) -> Iterator[Document]:
    """A reader that has raised an error cannot continue."""
    with notes.told():
        yield from documents


def _of_length(documents: Iterator[Document], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    """Those within `corpus.length` characters; the others are counted as left out."""
    if spec.length is None:
        yield from documents
        return
    fewest, most = spec.length
    for document in documents:
        if document.reason is None and len(document.text) < fewest:
            notes.left_out["too short"] += 1
        elif document.reason is None and len(document.text) > most:
            notes.left_out["too long"] += 1
        else:
            yield document


def _enter(listing: Entries, document: Document) -> None:
    digest = None if document.reason else text_digest(document.text)
    undivided = document.reason or (UNLABELLED if document.part == UNLABELLED else None)
    listing.add(
        len(document.text), digest, document.label, document.group, document.part, undivided
    )


def _as_json(notes: Notes) -> dict[str, Any]:
    counted = {name: dict(getattr(notes, name)) for name in ("ignored", "left_out", "other_labels")}
    plain = ("composed", "short_rows", "doubts", "films", "homes")
    return counted | {name: getattr(notes, name) for name in plain} | {"labels": notes.labels.names}


def _together(done: Sequence[Done], notes: Notes, place: Path) -> tuple[Texts, Listing]:
    """The documents of all parts, numbered in their order."""
    pieces = list[Piece]()
    listing = Listing.of_size(sum(sum(one.found["pieces"].values()) for one in done))
    at = 0
    for number, one in enumerate(done):
        _note(one.found, notes)
        numbers = _labels(one.found["notes"]["labels"], notes, f"part {number + 1} of the source")
        frame = pl.read_ipc(place / "listing" / f"{number:06}.arrow")
        listing.fill(at, _with_labels(frame, numbers) if numbers else frame)
        for name, count in one.found["pieces"].items():
            pieces.append(Piece(f"texts/{name}", at, at + count))
            at += count
    return Texts(place, pieces), listing


def _note(found: dict[str, Any], notes: Notes) -> None:
    theirs = found["notes"]
    notes.ignored.update(theirs["ignored"])
    notes.left_out.update(theirs["left_out"])
    for label, count in theirs["other_labels"].items():
        if label in notes.other_labels or len(notes.other_labels) < OTHER_LABELS:
            notes.other_labels[label] += count
    notes.composed += theirs["composed"]
    notes.short_rows += theirs["short_rows"]
    notes.doubts += theirs["doubts"]
    notes.films |= theirs["films"]
    for home in theirs["homes"]:
        notes.found_in(home)
    for text in found["errors"]:
        notes.wrong(FolioError(text))


def _labels(names: Sequence[str], notes: Notes, place: str) -> list[float | None]:
    """What the numbers of a part's labels are among all labels."""
    return [notes.labels.value_of(name, place) for name in names]


def _with_labels(frame: pl.DataFrame, numbers: list[float | None]) -> pl.DataFrame:
    """Labels have the number at their place in `numbers`."""
    there = frame["label"].is_not_null()
    found = np.array([*numbers, None], np.float32)[
        frame["label"].fill_null(len(numbers)).to_numpy().astype(np.int64)
    ]
    return frame.with_columns(pl.Series("label", found).set(~there, None))


def _refuse_same_names(texts: Texts) -> None:
    """Raises FolioError if two parts have a document of the same name."""
    hashes = [pl.Series(batch["id"]).hash().to_numpy() for batch in texts.batches(["id"])]
    twice = shared(np.concatenate([np.empty(0, np.uint64), *hashes]))
    seen: set[str] = set()
    for name in texts.names_of(twice.tolist()).values():
        if name in seen:
            raise two_named(name)
        seen.add(name)


def _nothing(notes: Notes) -> FolioError:
    if not notes.left_out:
        return FolioError("the source contains no documents; check its files and corpus.reader")
    listed = ", ".join(f"{what} {number}" for what, number in notes.left_out.most_common())
    return FolioError(
        f"all {notes.left_out.total():,} documents are left out ({listed}); fix corpus.length or "
        "corpus.markup"
    )
