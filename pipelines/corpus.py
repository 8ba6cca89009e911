"""The corpus stage: raw files to documents by split, and a quarantine that says why.

Which split a document is in may hang on files that come last (film lists, the test folder), so
the texts and ids wait in a spool on disk while groups and digests of the texts decide. Memory holds
some documents at a time, a few dozen bytes of each, and of the test part's also a sketch.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.cleaning import text_digest
from pipelines.documents import Document, Notes
from pipelines.errors import FolioError
from pipelines.near_duplicates import Pair, near_duplicates
from pipelines.readers import film_of, read
from pipelines.spec import CorpusSpec
from pipelines.splits import (
    CUT,
    NEAR_DUPLICATE_OF_TEST,
    REPEATS,
    SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    Decision,
    Listing,
    decide,
)
from pipelines.spool import BATCH_DOCUMENTS, SPOOL, batches, chosen, spooled
from pipelines.store import Artifact, Workspace

DOCUMENTS = pa.schema([("id", pa.string()), ("split", pa.string()), ("text", pa.string()),
                       ("label", pa.float32()), ("group", pa.string())])
QUARANTINE = pa.schema([("id", pa.string()), ("reason", pa.string()), ("excerpt", pa.string())])
LEAKS = pa.schema([("id", pa.string()), ("split", pa.string()), ("test_id", pa.string()),
                   ("similarity", pa.float64())])
SHARD_DOCUMENTS, SHARD_CHARACTERS = 10_000, 16 * 2**20
EXCERPT_CHARACTERS = 200
PARQUET = {"compression": "zstd", "use_dictionary": ["split", "reason"]}
Row = tuple[Any, ...]
Leak = tuple[Pair, str]  # what is like a test document, and the split it was in


def build(inputs: Mapping[str, Artifact], config: dict[str, Any], work: Workspace
          ) -> dict[str, Any]:
    """Writes `documents/<split>-NNNN.parquet`, `quarantine.parquet` and `near_duplicates.parquet`;
    returns the counts.

    Read = kept + quarantined + left out, as `corpus.length` and `markup` ask for. Raises FolioError
    for files that are not what the declaration says, and when more than `corpus.max_quarantined`
    of the documents would have to be set aside.
    """
    spec, seed = config["corpus"], config["seed"]
    _empty(work.scratch)
    notes, spool = Notes(), work.scratch / "texts.arrow"
    documents = _of_length(read(inputs["source"].path, spec, notes), spec, notes)
    listing = _spool(documents, spool, notes, work)
    _check_quarantine(Decision([why or TRAIN for why in listing.reasons]), spool, spec, notes)
    if spec.group and spec.reader == "labelled-folders":
        listing.groups = [film_of(name, notes.films) for name, _ in spooled(spool)]
    decision = decide(listing, spec, seed)
    _check_quarantine(decision, spool, spec, notes)
    pairs = _near_duplicates(spool, decision, spec, work)
    counts = _write(spool, listing, decision, notes, pairs, work)
    _empty(work.scratch)
    return counts


def _empty(folder: Path) -> None:
    """A killed earlier try may have left its spool."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _of_length(documents: Iterator[Document], spec: CorpusSpec, notes: Notes
               ) -> Iterator[Document]:
    """Those of `corpus.length` characters; the others are counted as left out."""
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


def _spool(documents: Iterator[Document], path: Path, notes: Notes, work: Workspace) -> Listing:
    """Writes ids and texts to `path` in batches; returns all else that is known of them."""
    listing = Listing()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, SPOOL) as writer:
        for batch in batches(documents):
            for document in batch:
                _enter(listing, document)
            columns = zip(*((d.id, d.text[:EXCERPT_CHARACTERS] if d.reason else d.text)
                            for d in batch), strict=True)
            writer.write(pa.record_batch(list(map(pa.array, columns)), schema=SPOOL))
            work.progress(len(listing), None, "documents read")
    if not len(listing):
        if notes.left_out:
            raise FolioError(f"all {notes.left_out.total():,} documents are left out "
                             f"({_listed(notes.left_out)}); mend corpus.length or corpus.markup")
        raise FolioError("the source holds no documents; look at its files and at corpus.reader")
    return listing


def _enter(listing: Listing, document: Document) -> None:
    digest = None if document.reason else text_digest(document.text)
    listing.add(len(document.text), digest, document.label, document.group, document.part,
                document.reason)


def _check_quarantine(decision: Decision, spool: Path, spec: CorpusSpec, notes: Notes) -> None:
    reasons = decision.reasons
    if not spec.labelled:  # short speeches are alike by nature: no sign of a wrong source
        reasons = Counter({why: n for why, n in reasons.items() if why not in REPEATS})
    share = reasons.total() / len(decision.fates)
    if share <= spec.max_quarantined:
        return
    worst = decision.fates.index(reasons.most_common(1)[0][0])
    example, _ = next(islice(spooled(spool), worst, None))
    wrong = ""
    if notes.other_labels:
        labels = ", ".join(repr(label) for label, _ in notes.other_labels.most_common(3))
        wrong = (f"; label {labels} is neither {spec.labels[0]!r} nor {spec.labels[1]!r} "
                 "(corpus.labels)")
    raise FolioError(f"{share:.1%} of {len(decision.fates):,} documents cannot be used, more than "
                     f"corpus.max_quarantined {spec.max_quarantined:.1%}: {_listed(reasons)}; for "
                     f"example {example}{wrong}. Mend the source or the declaration")


def _near_duplicates(spool: Path, decision: Decision, spec: CorpusSpec, work: Workspace
                     ) -> list[Leak]:
    """What train and validation nearly have in common with test, the split noted before any of
    it is dropped."""
    fates, found = decision.fates, []
    others = chosen(spool, fates, (TRAIN, VALIDATION))
    for pair in near_duplicates(chosen(spool, fates, (TEST,)), others):
        found.append((pair, fates[pair.document]))
        work.progress(pair.document, len(fates), "documents compared with the test part")
    for pair, _ in found if spec.duplicates == "drop" else ():
        fates[pair.document] = NEAR_DUPLICATE_OF_TEST
    if found and TRAIN not in fates and CUT not in fates:
        raise FolioError("corpus.duplicates drop leaves nothing to train on: all of it says nearly "
                         "what the test part says; mend the source")
    return found


def _listed(numbers: Counter[str]) -> str:
    return ", ".join(f"{what} {number}" for what, number in numbers.most_common())


def _write(spool: Path, listing: Listing, decision: Decision, notes: Notes, leaks: list[Leak],
           work: Workspace) -> dict[str, Any]:
    """The spooled texts once more, each to its split's shards or to the quarantine."""
    folder = work.out / "documents"
    folder.mkdir()
    names = {number: "" for pair, _ in leaks for number in (pair.document, pair.test)}
    with pq.ParquetWriter(work.out / "quarantine.parquet", QUARANTINE, **PARQUET) as file:
        quarantine = _Buffer(QUARANTINE, file.write_table)
        shards = {split: _Buffer(DOCUMENTS, _shard_writer(folder, split)) for split in SPLITS}
        for index, (name, text) in enumerate(spooled(spool)):
            fate = decision.fates[index]
            if index in names:
                names[index] = name
            if fate in SPLITS or fate == CUT:
                for row in _rows(index, name, text, listing, decision):
                    shards[row[1]].add(row, len(row[2]), row[3])
            else:
                quarantine.add((name, fate, text[:EXCERPT_CHARACTERS]), 0)
            if index % BATCH_DOCUMENTS == 0:
                work.progress(index, len(listing), "documents written")
        for buffer in (quarantine, *shards.values()):
            buffer.flush()
    work.progress(len(listing), len(listing), "documents written")
    rows = [(names[pair.document], split, names[pair.test], pair.similarity)
            for pair, split in leaks]
    pq.write_table(pa.Table.from_pylist([dict(zip(LEAKS.names, row, strict=True)) for row in rows],
                                        LEAKS), work.out / "near_duplicates.parquet", **PARQUET)
    found = Counter(split for _, split in leaks)
    return _counts(listing, decision, notes, shards, quarantine) | {
        "near_duplicates": {split: found[split] for split in (TRAIN, VALIDATION)}}


def _counts(listing: Listing, decision: Decision, notes: Notes, shards: dict[str, _Buffer],
            quarantine: _Buffer) -> dict[str, Any]:
    left_out, quarantined = notes.left_out.total(), quarantine.totals["documents"]
    read = len(listing) + left_out
    pieces = sum(len(cut) - 1 for cut in decision.cuts.values())
    kept = sum(shard.totals["documents"] for shard in shards.values()) - pieces
    assert kept + quarantined + left_out == read, (
        f"{kept} kept + {quarantined} quarantined + {left_out} left out != {read} read")
    return {"read": read, "kept": kept, "quarantined": quarantined,
            "left_out": _sorted(notes.left_out), "cut": len(decision.cuts),
            "splits": {split: shard.totals for split, shard in shards.items()},
            "reasons": _sorted(decision.reasons),
            "groups_in_two_splits": _straddling_groups(listing, decision),
            "ignored": _sorted(notes.ignored), "other_labels": _sorted(notes.other_labels)}


def _sorted(numbers: Counter[str]) -> dict[str, int]:
    return dict(sorted((+numbers).items()))


def _straddling_groups(listing: Listing, decision: Decision) -> int:
    """How many groups an official split has on both sides (aclImdb: one film)."""
    first: dict[str, str] = {}
    return len({group for group, fate in zip(listing.groups, decision.fates, strict=True)
                if group is not None and fate in SPLITS and first.setdefault(group, fate) != fate})


def _rows(index: int, name: str, text: str, listing: Listing, decision: Decision) -> Iterator[Row]:
    """A document's row; several for one that the contiguous split cuts."""
    fate = decision.fates[index]
    rest = (listing.labels[index], listing.groups[index])
    if fate != CUT:
        yield name, fate, text, *rest
        return
    for split, start, stop in decision.cuts[index]:
        yield f"{name}#{split}", split, text[start:stop], *rest


def _shard_writer(folder: Path, split: str) -> Callable[[pa.Table], None]:
    numbers = count()

    def write(table: pa.Table) -> None:
        pq.write_table(table, folder / f"{split}-{next(numbers):04d}.parquet", **PARQUET)

    return write


@dataclass
class _Buffer:
    """Rows until they are enough for a shard, or row group, which `write` then takes."""

    schema: pa.Schema
    write: Callable[[pa.Table], None]
    rows: list[Row] = field(default_factory=list)
    characters: int = 0
    totals: dict[str, int] = field(
        default_factory=lambda: {"documents": 0, "characters": 0, "positives": 0})

    def add(self, row: Row, characters: int, label: float | None = None) -> None:
        self.rows.append(row)
        self.characters += characters
        self.totals["documents"] += 1
        self.totals["characters"] += characters
        self.totals["positives"] += label == 1
        if len(self.rows) == SHARD_DOCUMENTS or self.characters >= SHARD_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        if self.rows:
            columns = [pa.array(column, kind.type)
                       for column, kind in zip(zip(*self.rows, strict=True), self.schema,
                                               strict=True)]
            self.write(pa.Table.from_arrays(columns, schema=self.schema))
            self.rows, self.characters = [], 0
