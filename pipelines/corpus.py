"""The corpus stage: raw files to documents by split, and a quarantine that says why.

Which split a document is in may hang on files that come last (film lists, the test folder), so
the texts wait in a spool on disk while ids, groups and digests of the texts decide.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.cleaning import text_digest
from pipelines.errors import FolioError
from pipelines.readers import Document, Notes, film_of, read
from pipelines.spec import CorpusSpec
from pipelines.splits import CUT, SPLITS, TRAIN, Decision, Listing, decide
from pipelines.store import Artifact, Workspace

DOCUMENTS = pa.schema([("id", pa.string()), ("split", pa.string()), ("text", pa.string()),
                       ("label", pa.float32()), ("group", pa.string())])
QUARANTINE = pa.schema([("id", pa.string()), ("reason", pa.string()), ("excerpt", pa.string())])
SPOOL = pa.schema([("text", pa.string())])
BATCH_DOCUMENTS, BATCH_CHARACTERS = 1000, 2 * 2**20  # spooled at a time
SHARD_DOCUMENTS, SHARD_CHARACTERS = 10_000, 16 * 2**20
EXCERPT_CHARACTERS = 200
PARQUET = {"compression": "zstd", "use_dictionary": ["split", "reason"]}
Row = tuple[Any, ...]


def build(inputs: Mapping[str, Artifact], config: dict[str, Any], work: Workspace
          ) -> dict[str, Any]:
    """Writes `documents/<split>-NNNN.parquet` and `quarantine.parquet`; returns the counts.

    Raises FolioError for files that are not what the declaration says, and when more than
    `corpus.max_quarantined` of the documents would have to be set aside.
    """
    spec, seed = config["corpus"], config["seed"]
    _empty(work.scratch)
    notes, spool = Notes(), work.scratch / "texts.arrow"
    listing = _spool(read(inputs["source"].path, spec, notes), spool, work)
    _check_quarantine(listing, Decision([why or TRAIN for why in listing.reasons]), spec, notes)
    if spec.group and spec.reader == "labelled-folders":
        listing.groups = [film_of(name, notes.films) for name in listing.ids]
    decision = decide(listing, spec, seed)
    _check_quarantine(listing, decision, spec, notes)
    counts = _write(spool, listing, decision, work)
    _empty(work.scratch)
    return counts | {"ignored": dict(sorted((+notes.ignored).items())),
                     "other_labels": dict(sorted(notes.other_labels.items()))}


def _empty(folder: Path) -> None:
    """A killed earlier try may have left its spool."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _spool(documents: Iterator[Document], path: Path, work: Workspace) -> Listing:
    """Writes the texts to `path` in batches; returns all else that is known of them."""
    listing = Listing()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, SPOOL) as writer:
        for batch in _batches(documents):
            for document in batch:
                _enter(listing, document)
            texts = [d.text[:EXCERPT_CHARACTERS] if d.reason else d.text for d in batch]
            writer.write(pa.record_batch([pa.array(texts, pa.string())], schema=SPOOL))
            work.progress(len(listing.ids), None, "documents read")
    if not listing.ids:
        raise FolioError("the source holds no documents; look at its files and at corpus.reader")
    if len(set(listing.ids)) < len(listing.ids):
        twice = Counter(listing.ids).most_common(1)[0][0]
        raise FolioError(f"the source has two documents called {twice}; keep one of them")
    return listing


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    characters = 0
    for document in documents:
        batch.append(document)
        characters += len(document.text)
        if len(batch) == BATCH_DOCUMENTS or characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _enter(listing: Listing, document: Document) -> None:
    listing.ids.append(document.id)
    listing.labels.append(document.label)
    listing.groups.append(document.group)
    listing.parts.append(document.part)
    listing.reasons.append(document.reason)
    listing.digests.append(b"" if document.reason else text_digest(document.text))
    listing.characters.append(len(document.text))


def _check_quarantine(listing: Listing, decision: Decision, spec: CorpusSpec, notes: Notes) -> None:
    reasons = decision.reasons
    share = reasons.total() / len(listing.ids)
    if share <= spec.max_quarantined:
        return
    listed = ", ".join(f"{reason} {number}" for reason, number in reasons.most_common())
    example = listing.ids[decision.fates.index(reasons.most_common(1)[0][0])]
    wrong = ""
    if notes.other_labels:
        labels = ", ".join(repr(label) for label, _ in notes.other_labels.most_common(3))
        wrong = (f"; label {labels} is neither {spec.labels[0]!r} nor {spec.labels[1]!r} "
                 "(corpus.labels)")
    raise FolioError(f"{share:.1%} of {len(listing.ids):,} documents cannot be used, more than "
                     f"corpus.max_quarantined {spec.max_quarantined:.1%}: {listed}; for example "
                     f"{example}{wrong}. Mend the source or the declaration")


def _write(spool: Path, listing: Listing, decision: Decision, work: Workspace) -> dict[str, Any]:
    """The spooled texts once more, each to its split's shards or to the quarantine."""
    folder = work.out / "documents"
    folder.mkdir()
    with pq.ParquetWriter(work.out / "quarantine.parquet", QUARANTINE, **PARQUET) as file:
        quarantine = _Buffer(QUARANTINE, file.write_table)
        shards = {split: _Buffer(DOCUMENTS, _shard_writer(folder, split)) for split in SPLITS}
        for index, text in enumerate(_spooled(spool)):
            fate = decision.fates[index]
            if fate in SPLITS or fate == CUT:
                for row in _rows(index, text, listing, decision):
                    shards[row[1]].add(row, len(row[2]), row[3])
            else:
                quarantine.add((listing.ids[index], fate, text[:EXCERPT_CHARACTERS]), 0)
            if index % BATCH_DOCUMENTS == 0:
                work.progress(index, len(listing.ids), "documents written")
        for buffer in (quarantine, *shards.values()):
            buffer.flush()
    work.progress(len(listing.ids), len(listing.ids), "documents written")
    return _counts(listing, decision, shards, quarantine)


def _counts(listing: Listing, decision: Decision, shards: dict[str, _Buffer],
            quarantine: _Buffer) -> dict[str, Any]:
    read, quarantined = len(listing.ids), quarantine.totals["documents"]
    pieces = sum(len(cut) - 1 for cut in decision.cuts.values())
    kept = sum(shard.totals["documents"] for shard in shards.values()) - pieces
    assert kept + quarantined == read, f"{kept} kept + {quarantined} quarantined != {read} read"
    return {"read": read, "kept": kept, "quarantined": quarantined, "cut": len(decision.cuts),
            "splits": {split: shard.totals for split, shard in shards.items()},
            "reasons": dict(sorted(decision.reasons.items())),
            "groups_in_two_splits": _straddling_groups(listing, decision)}


def _straddling_groups(listing: Listing, decision: Decision) -> int:
    """How many groups an official split has on both sides (aclImdb: one film)."""
    first: dict[str, str] = {}
    return len({group for group, fate in zip(listing.groups, decision.fates, strict=True)
                if group is not None and fate in SPLITS and first.setdefault(group, fate) != fate})


def _rows(index: int, text: str, listing: Listing, decision: Decision) -> Iterator[Row]:
    """A document's row; several for one that the contiguous split cuts."""
    name, fate = listing.ids[index], decision.fates[index]
    rest = (listing.labels[index], listing.groups[index])
    if fate != CUT:
        yield name, fate, text, *rest
        return
    for split, start, stop in decision.cuts[index]:
        yield f"{name}#{split}", split, text[start:stop], *rest


def _spooled(path: Path) -> Iterator[str]:
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as batches:
        for batch in batches:
            yield from batch.column(0).to_pylist()


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
