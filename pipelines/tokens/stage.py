"""The tokens stage: a vocabulary learned only from train, and every document as ids.

Writes `vocabulary/` and `tokens/<split>-NNNN.parquet` with columns id, split, tokens (list of ids,
including the markers `begin` and `end`), length, label, characters (of the text itself, before
truncation) and truncated (tokens cut off).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.declaration.model_sections import TokensSpec
from pipelines.parallel import mapped
from pipelines.store.artifacts import Inputs, Workspace
from pipelines.tokens.learning import learn, started_from
from pipelines.tokens.vocabulary import Vocabulary


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Learn the vocabulary, then encode every split. Returns counts per split."""
    spec: TokensSpec = config["tokens"]
    corpus = inputs["corpus"]
    notices: list[str] = []
    if start := inputs.get("start"):
        vocabulary = started_from(
            Vocabulary.load(start.path / "vocabulary"), corpus.files("documents/train-"), spec
        )
    else:
        vocabulary, notices = learn(corpus.files("documents/train-"), spec, work)
    counted_later = start is not None or spec.kind == "subword"
    seen = np.zeros(vocabulary.size, np.int64)
    (work.out / "tokens").mkdir()
    totals: dict[str, Totals] = {}
    shards = corpus.files("documents/")

    def coded(shard: Path) -> pa.Table:
        table = code(pl.read_parquet(shard), vocabulary, spec)
        pq.write_table(table, work.out / "tokens" / shard.name, compression="zstd")
        return table

    for done, table in enumerate(mapped(coded, shards), 1):
        for split in table["split"].unique().to_pylist():
            totals.setdefault(split, Totals()).add(table, vocabulary.unknown_id)
            if split == "train" and counted_later:
                seen += np.bincount(_flat(table["tokens"]), minlength=vocabulary.size)
        work.progress(done, len(shards), "shards encoded")
    if counted_later:  # the counts in train are known only after encoding
        vocabulary = replace(vocabulary, counts=tuple(seen.tolist()))
    vocabulary.save(work.out / "vocabulary")
    counts = {split: vars(total) for split, total in totals.items()}
    classes = len(corpus.counts.get("labels", ()))
    return (
        {"vocabulary": vocabulary.size}
        | counts
        | ({"classes": classes} if classes > 2 else {})
        | ({"notices": notices} if notices else {})
    )


@dataclass
class Totals:
    """Sums over one split."""

    documents: int = 0
    tokens: int = 0
    unknown: int = 0
    truncated_documents: int = 0
    truncated_tokens: int = 0
    longest: int = 0
    characters: int = 0

    def add(self, table: pa.Table, unknown_id: int) -> None:
        truncated = table["truncated"].to_numpy()
        ids = _flat(table["tokens"])
        self.documents += table.num_rows
        self.tokens += len(ids)
        self.unknown += int((ids == unknown_id).sum())
        self.truncated_documents += int((truncated > 0).sum())
        self.truncated_tokens += int(truncated.sum())
        self.longest = max(self.longest, int(table["length"].to_numpy().max(initial=0)))
        self.characters += int(table["characters"].to_numpy().sum())


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, np.uint16)


def code(documents: pl.DataFrame, vocabulary: Vocabulary, spec: TokensSpec) -> pa.Table:
    """The documents' rows with ids instead of text; see the module's docstring."""
    ids, edges = vocabulary.encode_all(documents["text"])
    if vocabulary.markers:
        ids, edges = _marked(ids, edges, vocabulary)
    elif vocabulary.kind == "word":
        # A text without words is still a document to classify: one unknown token.
        empty = np.diff(edges) == 0
        ids = np.insert(ids, edges[:-1][empty], vocabulary.unknown_id)
        edges = edges + np.concatenate([[0], np.cumsum(empty)])
    lengths = np.diff(edges)
    if spec.max_tokens is not None:
        ids, edges = _cut(ids, edges, spec.max_tokens, spec.keep)
    return pa.table(
        {
            "id": documents["id"].to_arrow().cast(pa.string()),
            "split": documents["split"].to_arrow().cast(pa.string()),
            # list, not large_list: 32-bit offsets, which every Parquet reader supports.
            "tokens": pa.ListArray.from_arrays(edges.astype(np.int32), ids),
            "length": np.diff(edges).astype(np.int32),
            "label": documents["label"].cast(pl.Float32).to_arrow(),
            "characters": documents["text"].str.len_chars().cast(pl.Int64).to_arrow(),
            "truncated": (lengths - np.diff(edges)).astype(np.int32),
        }
    )


def _marked(
    ids: np.ndarray, edges: np.ndarray, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """Put the markers around each document; `edges` (documents + 1,) is where each starts."""
    each = np.arange(len(edges))
    if vocabulary.begin_id is not None:
        ids, edges = np.insert(ids, edges[:-1], vocabulary.begin_id), edges + each
    if vocabulary.end_id is not None:
        ids, edges = np.insert(ids, edges[1:], vocabulary.end_id), edges + each
    return ids, edges


def _cut(ids: np.ndarray, edges: np.ndarray, most: int, keep: str) -> tuple[np.ndarray, np.ndarray]:
    """At most `most` ids of each document, its last or its first ones."""
    lengths = np.minimum(np.diff(edges), most)
    starts = edges[1:] - lengths if keep == "last" else edges[:-1]
    after = np.concatenate([[0], np.cumsum(lengths)])
    return ids[np.repeat(starts - after[:-1], lengths) + np.arange(after[-1])], after
