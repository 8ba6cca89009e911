"""The tokens stage: a vocabulary learned from train alone, and every document as ids.

Writes `vocabulary/` and `tokens/<split>-NNNN.parquet` with columns id, split, tokens (list of
ids), length, label, characters (of the text before any cut) and truncated (tokens cut off).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.errors import FolioError
from pipelines.spec import TokensSpec
from pipelines.stages import Inputs
from pipelines.store import Workspace
from pipelines.vocabulary import SPECIAL, UNKNOWN_ID, Vocabulary, split_words


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Learn the vocabulary, then code every split. Returns counts per split."""
    spec: TokensSpec = config["tokens"]
    documents = inputs["corpus"].path / "documents"
    vocabulary = learn(documents, spec, work)
    vocabulary.save(work.out / "vocabulary")
    (work.out / "tokens").mkdir()
    totals: dict[str, Totals] = {}
    shards = sorted(documents.glob("*.parquet"))
    for done, shard in enumerate(shards, 1):
        table = code(pl.read_parquet(shard), vocabulary, spec)
        pq.write_table(table, work.out / "tokens" / shard.name, compression="zstd")
        for split in table["split"].unique().to_pylist():
            totals.setdefault(split, Totals()).add(table)
        work.progress(done, len(shards), "shards coded")
    return {"vocabulary": vocabulary.size} | {split: vars(t) for split, t in totals.items()}


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

    def add(self, table: pa.Table) -> None:
        truncated = table["truncated"].to_numpy()
        ids = _flat(table["tokens"])
        self.documents += table.num_rows
        self.tokens += len(ids)
        self.unknown += int((ids == UNKNOWN_ID).sum())
        self.truncated_documents += int((truncated > 0).sum())
        self.truncated_tokens += int(truncated.sum())
        self.longest = max(self.longest, int(table["length"].to_numpy().max(initial=0)))
        self.characters += int(table["characters"].to_numpy().sum())


def _flat(column: pa.ChunkedArray) -> np.ndarray:
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, np.uint16)


def learn(documents: Path, spec: TokensSpec, work: Workspace) -> Vocabulary:
    """Count the tokens of the train split and keep those that `spec` allows."""
    counts = _count_characters(documents, spec) if spec.kind == "char" else (
        _count_words(documents, spec, work))
    kept = [(token, count) for token, count in counts.items() if count >= spec.min_count]
    if not kept:
        raise FolioError(f"corpus train split: no {spec.kind} is seen {spec.min_count} times; "
                         "lower tokens.min_count or give more text")
    kept.sort(key=lambda item: (-item[1], item[0]))  # frequent first, then by spelling
    if spec.max_size is not None:
        kept = kept[: max(spec.max_size - len(SPECIAL), 1)]
    if spec.kind == "char":
        kept.sort()
    unknown = counts.total() - sum(count for _, count in kept)
    tokens, numbers = zip(*kept, strict=True)
    return Vocabulary(spec.kind, spec.lower, (*SPECIAL, *tokens), (0, unknown, *numbers))


def _train_texts(documents: Path) -> Iterator[pl.Series]:
    for shard in sorted(documents.glob("train-*.parquet")):
        yield pl.read_parquet(shard, columns=["text"])["text"]


def _count_characters(documents: Path, spec: TokensSpec) -> Counter[str]:
    counts: Counter[str] = Counter()
    for texts in _train_texts(documents):
        for text in texts:
            folded = text.lower() if spec.lower else text
            points, numbers = np.unique(np.frombuffer(folded.encode("utf-32-le"), np.uint32),
                                        return_counts=True)
            counts.update({chr(p): int(n) for p, n in zip(points, numbers, strict=True)})
    return counts


def _count_words(documents: Path, spec: TokensSpec, work: Workspace) -> Counter[str]:
    total = pl.DataFrame(schema={"text": pl.String, "count": pl.UInt64})
    for done, texts in enumerate(_train_texts(documents), 1):
        words = split_words(texts, spec.lower).explode(empty_as_null=False).to_frame()
        shard = words.lazy().group_by("text").agg(pl.len().cast(pl.UInt64).alias("count"))
        both = pl.concat([total.lazy(), shard]).group_by("text").agg(pl.col("count").sum())
        total = both.collect(engine="streaming")
        work.progress(done, None, "train shards counted")
    return Counter(dict(total.iter_rows()))


def code(documents: pl.DataFrame, vocabulary: Vocabulary, spec: TokensSpec) -> pa.Table:
    """The documents' rows with ids in place of text; see the module's docstring."""
    if vocabulary.kind == "char":
        ids = [vocabulary.encode_characters(text) for text in documents["text"]]
        edges = np.cumsum([0, *map(len, ids)])
        tokens = pl.from_arrow(pa.LargeListArray.from_arrays(edges, np.concatenate(ids)))
    else:
        tokens = vocabulary.encode_words(documents["text"])
        # A text without a single word is still a document to be judged: one unknown token.
        empty = pl.Series([[UNKNOWN_ID]], dtype=tokens.dtype)
        tokens = tokens.zip_with(tokens.list.len() > 0, empty.new_from_index(0, len(tokens)))
    lengths = tokens.list.len()
    if spec.max_tokens is not None:
        cut = tokens.list.tail if spec.keep == "last" else tokens.list.head
        tokens = cut(spec.max_tokens)
    return pa.table({
        "id": documents["id"].to_arrow().cast(pa.string()),
        "split": documents["split"].to_arrow().cast(pa.string()),
        "tokens": _small_list(tokens),
        "length": tokens.list.len().cast(pl.Int32).to_arrow(),
        "label": documents["label"].cast(pl.Float32).to_arrow(),
        "characters": documents["text"].str.len_chars().cast(pl.Int64).to_arrow(),
        "truncated": (lengths - tokens.list.len()).cast(pl.Int32).to_arrow(),
    })


def _small_list(tokens: pl.Series) -> pa.Array:
    """As list, not large_list: 32-bit offsets, which every reader of Parquet knows."""
    array = tokens.to_arrow()
    return array.cast(pa.list_(array.type.value_type))
