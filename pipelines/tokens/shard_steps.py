"""The steps of the tokens stage: each reads one shard of documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.declaration.model_sections import TokensSpec
from pipelines.files.digests import digest_file
from pipelines.steps.step import Done, Step, move
from pipelines.store.artifacts import Workspace
from pipelines.tokens import subwords
from pipelines.tokens.coded_words import CodedWords
from pipelines.tokens.vocabulary import TOKENS_FILE, Vocabulary
from pipelines.tokens.words import has_marks

VOCABULARY, WORDS = "vocabulary", "words"
COUNTS = pl.Schema({"text": pl.String, "count": pl.UInt64})


def texts_of(shard: str | Path) -> pl.Series:
    return pl.read_parquet(shard, columns=["text"])["text"]


def steps_of(name: str, function: Any, shards: Iterable[Path], **arguments: Any) -> list[Step]:
    """A step for each shard."""
    return [
        Step(f"{name}-{shard.stem}", function, {"shard": str(shard), **arguments})
        for shard in shards
    ]


def count_words(place: Path, out: Path, shard: str, spec: TokensSpec) -> dict[str, Any]:
    """Writes counts/<shard>.arrow: each word and how often it occurs; and what `encode` needs of
    the words, so that they are not split twice. `marked`: some have marks."""
    texts = texts_of(shard)
    words = CodedWords.of(texts, spec.lower, spec.words)
    (out / WORDS).mkdir()
    words.save(out / WORDS / Path(shard).stem)
    return _counted(out, shard, words.counts()) | {"marked": has_marks(texts)}


def count_characters(place: Path, out: Path, shard: str, spec: TokensSpec) -> dict[str, Any]:
    """Writes counts/<shard>.arrow: each character and how often it occurs."""
    total = np.zeros(0, np.int64)  # by code point
    for text in texts_of(shard):
        folded = text.lower() if spec.lower else text
        points, numbers = np.unique(
            np.frombuffer(folded.encode("utf-32-le"), np.uint32), return_counts=True
        )
        if len(points) and points[-1] >= len(total):
            total = np.pad(total, (0, int(points[-1]) + 1 - len(total)))
        total[points] += numbers
    there = np.flatnonzero(total)
    counts = pl.DataFrame(
        {"text": [chr(point) for point in there], "count": total[there]}, schema=COUNTS
    )
    return _counted(out, shard, counts)


def _counted(out: Path, shard: str, counts: pl.DataFrame) -> dict[str, Any]:
    (out / "counts").mkdir()
    counts.write_ipc(out / "counts" / f"{Path(shard).stem}.arrow")
    return {}


def summed(place: Path, done: Sequence[Done]) -> pl.DataFrame:
    """All counts of such steps together."""
    total = pl.DataFrame(schema=COUNTS)
    for one in done:
        for name in (name for name in one.files if name.startswith("counts/")):
            more = pl.read_ipc(place / name)
            total = pl.concat([total, more]).group_by("text").agg(pl.col("count").sum())
    return total


def measure(place: Path, out: Path, shard: str, lower: bool) -> dict[str, Any]:
    """`characters`, `lines` and whether there are line `breaks`, of which subwords learn."""
    texts = texts_of(shard)
    return {
        "characters": int(texts.str.len_chars().sum()),
        "breaks": bool(texts.str.contains("\n", literal=True).any()),
        "lines": sum(1 for _ in subwords.lines_of(texts, lower)),
    }


def sample(
    place: Path, out: Path, shard: str, lower: bool, stride: int, first: int
) -> dict[str, Any]:
    """Writes lines/<shard>.txt: every `stride`-th line, of which the shard's first has the number
    `first`."""
    (out / "lines").mkdir()
    lines = list(subwords.sampled(texts_of(shard), stride, lower, first))
    data = "".join(f"{line}\n" for line in lines).encode()
    (out / "lines" / f"{Path(shard).stem}.txt").write_bytes(data)
    return {}


def learn_subwords(
    place: Path, out: Path, samples: list[str], breaks: bool, spec: TokensSpec
) -> dict[str, Any]:
    """Writes `subwords.model`, learned from the lines of these files."""
    lines = [
        line for name in samples for line in (place / name).read_bytes().decode().split("\n")[:-1]
    ]
    size = spec.max_size or subwords.DEFAULT_SIZE
    model = subwords.learned(lines, breaks, size, spec.begin, spec.end)
    (out / "subwords.model").write_bytes(model)
    return {}


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

    @classmethod
    def of(cls, table: pa.Table, unknown_id: int) -> Totals:
        truncated, ids = table["truncated"].to_numpy(), flat(table["tokens"])
        return cls(
            documents=table.num_rows,
            tokens=len(ids),
            unknown=int((ids == unknown_id).sum()),
            truncated_documents=int((truncated > 0).sum()),
            truncated_tokens=int(truncated.sum()),
            longest=int(table["length"].to_numpy().max(initial=0)),
            characters=int(table["characters"].to_numpy().sum()),
        )

    def add(self, other: Totals) -> None:
        for name, value in vars(other).items():
            both = (getattr(self, name), value)
            setattr(self, name, max(both) if name == "longest" else sum(both))


def encode(place: Path, out: Path, shard: str, spec: TokensSpec, count: bool) -> dict[str, Any]:
    """Writes tokens/<shard>.parquet by the vocabulary in `place`; with `count`, also
    seen/<shard>.npy: how often each id occurs in train."""
    vocabulary = _vocabulary(place / VOCABULARY)
    documents = pl.read_parquet(shard)
    table = code(documents, _ids(place, shard, documents["text"], vocabulary), vocabulary, spec)
    (out / "tokens").mkdir()
    pq.write_table(table, out / "tokens" / Path(shard).name, compression="zstd")
    splits = table["split"].unique().to_pylist()
    if count and "train" in splits:
        (out / "seen").mkdir()
        seen = np.bincount(flat(table["tokens"]), minlength=vocabulary.size)
        np.save(out / "seen" / f"{Path(shard).stem}.npy", seen)
    return {"splits": splits, "totals": vars(Totals.of(table, vocabulary.unknown_id))}


def encoded(shards: Sequence[Path], spec: TokensSpec, count: bool, work: Workspace) -> list[Done]:
    """Encodes all shards by the vocabulary in the scratch folder, and moves them to the output."""
    steps = steps_of("encode", encode, shards, spec=spec, count=count)
    done = work.steps.run(work.scratch, steps, work.progress, "shards encoded")
    for one in done:
        move(work.scratch, work.out, [name for name in one.files if name.startswith("tokens/")])
    return done


def _vocabulary(folder: Path) -> Vocabulary:
    return _loaded(folder, digest_file(folder / TOKENS_FILE))


@lru_cache(1)
def _loaded(folder: Path, digest: str) -> Vocabulary:
    return Vocabulary.load(folder)


def flat(column: pa.ChunkedArray) -> np.ndarray:
    chunks = [chunk.flatten().to_numpy() for chunk in column.chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, np.uint16)


def _ids(
    place: Path, shard: str, texts: pl.Series, vocabulary: Vocabulary
) -> tuple[np.ndarray, np.ndarray]:
    """`vocabulary.encode_all` of a shard's texts; words that are split already only get their
    ids."""
    unmarked = vocabulary.words == "all" and not vocabulary.marks
    if vocabulary.kind != "word" or (unmarked and has_marks(texts)):
        return vocabulary.encode_all(texts)
    there = place / WORDS / f"{Path(shard).stem}.npz"
    words = (
        CodedWords.load(there)
        if there.exists()
        else CodedWords.of(texts, vocabulary.lower, vocabulary.words)
    )
    return vocabulary.ids_of(words.words)[words.codes], words.edges


def code(
    documents: pl.DataFrame,
    encoded: tuple[np.ndarray, np.ndarray],
    vocabulary: Vocabulary,
    spec: TokensSpec,
) -> pa.Table:
    """The documents' rows with ids, and where each one's start, instead of text; see the stage's
    docstring."""
    ids, edges = encoded
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
