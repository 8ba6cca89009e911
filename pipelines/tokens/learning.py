"""The vocabulary of a train split: learned from its text, or taken from another model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from pipelines.declaration.model_sections import TokensSpec
from pipelines.errors import FolioError
from pipelines.parallel import mapped
from pipelines.store.artifacts import Workspace
from pipelines.tokens import subwords
from pipelines.tokens.vocabulary import SPECIAL, Vocabulary
from pipelines.tokens.words import UNSPACED, has_marks, split_words

MOSTLY = 0.5  # share of the characters


def started_from(vocabulary: Vocabulary, shards: Sequence[Path], spec: TokensSpec) -> Vocabulary:
    """Another model's, with this pipeline's markers. Characters that it lacks are added at its
    end; words and subwords are not: their markers must be among its tokens."""
    added: list[str] = []
    if spec.kind == "char":
        counts = _count_characters(shards, spec)
        added = sorted({*_markers(spec, counts), *counts} - set(vocabulary.tokens))
    vocabulary = replace(
        vocabulary,
        tokens=(*vocabulary.tokens, *added),
        counts=(*vocabulary.counts, *(0 for _ in added)),
        begin=spec.begin or None,
        end=spec.end or None,
    )
    for name in filter(None, (spec.begin, spec.end)):
        if name not in vocabulary.tokens:
            raise FolioError(
                f"tokens: the marker {name!r} is not in the vocabulary that model.start_from "
                "brings; remove it"
            )
    return vocabulary


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
