"""The tokens stage: a vocabulary learned only from train, and every document as ids.

Writes `vocabulary/` and `tokens/<split>-NNNN.parquet` with columns id, split, tokens (list of ids,
including the markers `begin` and `end`), length, label, characters (of the text itself, before
truncation) and truncated (tokens cut off).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.declaration.model_sections import TokensSpec
from pipelines.errors import FolioError
from pipelines.parallel import mapped
from pipelines.store.artifacts import Inputs, Workspace
from pipelines.tokens import subwords
from pipelines.tokens.vocabulary import SPECIAL, Vocabulary
from pipelines.tokens.words import UNSPACED, has_marks, split_words

MOSTLY = 0.5  # share of the characters


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Learn the vocabulary, then encode every split. Returns counts per split."""
    spec: TokensSpec = config["tokens"]
    corpus = inputs["corpus"]
    notices: list[str] = []
    if start := inputs.get("start"):
        vocabulary = started_from(Vocabulary.load(start.path / "vocabulary"), spec)
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


# The vocabulary


def started_from(vocabulary: Vocabulary, spec: TokensSpec) -> Vocabulary:
    """Another model's, with this pipeline's markers, which must be among its tokens."""
    for name in filter(None, (spec.begin, spec.end)):
        if name not in vocabulary.tokens:
            raise FolioError(
                f"tokens: the marker {name!r} is not in the vocabulary that model.start_from "
                "brings; remove it"
            )
    return replace(vocabulary, begin=spec.begin or None, end=spec.end or None)


def learn(
    shards: Sequence[Path], spec: TokensSpec, work: Workspace
) -> tuple[Vocabulary, list[str]]:
    """Count the tokens in the train split's shards and keep those that `spec` allows; and what a
    person should look at.

    Subwords are learned by SentencePiece; they are counted later.
    """
    if spec.kind == "subword":
        return _learn_subwords(shards, spec, work), []
    counts, marked = (
        (_count_characters(shards, spec), False)
        if spec.kind == "char"
        else _count_words(shards, spec, work)
    )
    markers = _markers(spec, counts)
    kept = [(token, count) for token, count in counts.items() if count >= spec.min_count]
    if not kept:
        raise FolioError(
            f"corpus train split: no {spec.kind} occurs {spec.min_count} times; reduce "
            "tokens.min_count or give more text"
        )
    kept.sort(key=lambda item: (-item[1], item[0]))  # most frequent first, then by spelling
    if spec.max_size is not None:
        kept = kept[: max(spec.max_size - len(SPECIAL) - len(markers), 1)]
    if spec.kind == "char":
        kept.sort()
    unknown = counts.total() - sum(count for _, count in kept)
    tokens, numbers = zip(*kept, strict=True)
    train = sum(pq.read_metadata(shard).num_rows for shard in shards)
    learned = Vocabulary(
        spec.kind,
        spec.lower,
        (*SPECIAL, *markers, *tokens),
        (0, unknown, *(train * n for n in markers.values()), *numbers),
        spec.words,
        spec.begin or None,
        spec.end or None,
        marks=spec.kind == "word" and spec.words == "all" and marked,
    )
    return learned, _unspaced(counts) if spec.kind == "word" else []


def _unspaced(counts: Counter[str]) -> list[str]:
    """A notice if most of the text has no blanks between its words."""
    found = pl.DataFrame({"word": list(counts), "count": list(counts.values())})
    characters = pl.col("word").str.len_chars() * pl.col("count")
    unspaced = found.select(characters.filter(pl.col("word").str.contains(UNSPACED)).sum())
    share = unspaced.item() / found.select(characters.sum()).item()
    if share < MOSTLY:
        return []
    return [
        f"{share:.0%} of the text is in a script without blanks between words (Chinese, Japanese, "
        "Thai, …), so whole phrases count as words; use tokens.kind subword or char"
    ]


def _learn_subwords(shards: Sequence[Path], spec: TokensSpec, work: Workspace) -> Vocabulary:
    def read() -> Iterator[pl.Series]:
        for done, texts in enumerate(_texts(shards), 1):
            yield texts
            work.progress(done, None, "train shards read for subwords")

    model = subwords.train(
        read, spec.max_size or subwords.DEFAULT_SIZE, spec.lower, spec.begin, spec.end
    )
    tokens = subwords.pieces(subwords.load(model))
    return Vocabulary(
        spec.kind,
        spec.lower,
        tokens,
        (0,) * len(tokens),
        spec.words,
        spec.begin or None,
        spec.end or None,
        subwords.PAD_ID,
        subwords.UNKNOWN_ID,
        model,
    )


def _markers(spec: TokensSpec, counts: Counter[str]) -> dict[str, int]:
    """{marker: how many documents have it}. Raises FolioError if it occurs in the text."""
    for name in ("begin", "end"):
        marker = getattr(spec, name)
        if marker in counts or marker in SPECIAL:
            raise FolioError(
                f"tokens.{name} {marker!r}: the train text contains it {counts[marker]} "
                f"times, so it cannot mark where a document {name}s; choose one that does "
                f"not occur in the text, such as '<{name}>'"
                if marker in counts
                else f"tokens.{name} {marker!r}: every vocabulary has this token; choose another"
            )
    return dict(Counter(marker for marker in (spec.begin, spec.end) if marker))


def _texts(shards: Sequence[Path]) -> Iterator[pl.Series]:
    for shard in shards:
        yield pl.read_parquet(shard, columns=["text"])["text"]


def _count_characters(shards: Sequence[Path], spec: TokensSpec) -> Counter[str]:
    counts: Counter[str] = Counter()
    for texts in _texts(shards):
        for text in texts:
            folded = text.lower() if spec.lower else text
            points, numbers = np.unique(
                np.frombuffer(folded.encode("utf-32-le"), np.uint32), return_counts=True
            )
            counts.update({chr(p): int(n) for p, n in zip(points, numbers, strict=True)})
    return counts


def _count_words(
    shards: Sequence[Path], spec: TokensSpec, work: Workspace
) -> tuple[Counter[str], bool]:
    """And whether some have marks. If none has, the vocabulary is that of earlier versions, with
    the same bytes: nothing that was learned from it must be learned again."""

    def counted(texts: pl.Series) -> tuple[pl.DataFrame, bool]:
        words = split_words(texts, spec.lower, spec.words).explode(empty_as_null=False)
        counts = (
            words.alias("text")
            .to_frame()
            .group_by("text")
            .agg(pl.len().cast(pl.UInt64).alias("count"))
        )
        return counts, has_marks(texts)

    total, marked = pl.DataFrame(schema={"text": pl.String, "count": pl.UInt64}), False
    for done, (shard, has_some) in enumerate(mapped(counted, _texts(shards)), 1):
        total = pl.concat([total, shard]).group_by("text").agg(pl.col("count").sum())
        marked = marked or has_some
        work.progress(done, None, "train shards counted")
    return Counter(dict(total.iter_rows())), marked


# The documents


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
