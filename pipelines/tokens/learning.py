"""The vocabulary of a train split: learned from its text, or taken from another model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from pipelines.declaration.model_sections import TokensSpec
from pipelines.errors import FolioError
from pipelines.steps.step import Done, Step
from pipelines.store.artifacts import Workspace
from pipelines.tokens import subwords
from pipelines.tokens.shard_steps import (
    count_characters,
    count_words,
    learn_subwords,
    measure,
    sample,
    steps_of,
    summed,
)
from pipelines.tokens.vocabulary import SPECIAL, Vocabulary
from pipelines.tokens.words import UNSPACED

MOSTLY = 0.5  # share of the characters


def started_from(
    vocabulary: Vocabulary, shards: Sequence[Path], spec: TokensSpec, work: Workspace
) -> Vocabulary:
    """Another model's, with this pipeline's markers. Characters that it lacks are added at its
    end; words and subwords are not: their markers must be among its tokens."""
    added: list[str] = []
    if spec.kind == "char":
        counts = _count_characters(shards, spec, work)
        found = {*_markers(spec, counts), *counts["text"].to_list()}
        added = sorted(found - set(vocabulary.tokens))
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
        (_count_characters(shards, spec, work), False)
        if spec.kind == "char"
        else _count_words(shards, spec, work)
    )
    markers = _markers(spec, counts)
    kept = counts.filter(pl.col("count") >= spec.min_count)
    if kept.is_empty():
        raise FolioError(
            f"corpus train split: no {spec.kind} occurs {spec.min_count} times; reduce "
            "tokens.min_count or give more text"
        )
    # The most frequent first, then by spelling.
    kept = kept.sort("count", "text", descending=[True, False])
    if spec.max_size is not None:
        kept = kept.head(max(spec.max_size - len(SPECIAL) - len(markers), 1))
    if spec.kind == "char":
        kept = kept.sort("text")
    unknown = int(counts["count"].sum()) - int(kept["count"].sum())
    tokens, numbers = kept["text"].to_list(), kept["count"].to_list()
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


def _unspaced(counts: pl.DataFrame) -> list[str]:
    """A notice if most of the text has no blanks between its words."""
    characters = pl.col("text").str.len_chars() * pl.col("count")
    unspaced = counts.select(characters.filter(pl.col("text").str.contains(UNSPACED)).sum())
    share = unspaced.item() / counts.select(characters.sum()).item()
    if share < MOSTLY:
        return []
    return [
        f"{share:.0%} of the text is in a script without blanks between words (Chinese, Japanese, "
        "Thai, …), so whole phrases count as words; use tokens.kind subword or char"
    ]


def _learn_subwords(shards: Sequence[Path], spec: TokensSpec, work: Workspace) -> Vocabulary:
    """From every n-th line of all the text, so that time is bounded."""

    def run(steps: Sequence[Step], unit: str = "train shards read for subwords") -> list[Done]:
        return work.steps.run(work.scratch, steps, work.progress, unit)

    measured = run(steps_of("measure", measure, shards, lower=spec.lower))
    stride = subwords.stride_of(sum(one.found["characters"] for one in measured))
    steps, first = [], 0
    for shard, one in zip(shards, measured, strict=True):
        steps += steps_of("sample", sample, [shard], lower=spec.lower, stride=stride, first=first)
        first += one.found["lines"]
    names = [name for one in run(steps) for name in one.files]
    breaks = any(one.found["breaks"] for one in measured)
    arguments = {"samples": names, "breaks": breaks, "spec": spec}
    run([Step("learn-subwords", learn_subwords, arguments)], "vocabularies learned")
    model = (work.scratch / "subwords.model").read_bytes()
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


def _markers(spec: TokensSpec, counts: pl.DataFrame) -> dict[str, int]:
    """{marker: how many documents have it}. Raises FolioError if it occurs in the text."""
    for name in ("begin", "end"):
        marker = getattr(spec, name)
        if marker is None:
            continue
        there = int(counts.filter(pl.col("text") == marker)["count"].sum())
        if there or marker in SPECIAL:
            raise FolioError(
                f"tokens.{name} {marker!r}: the train text contains it {there} "
                f"times, so it cannot mark where a document {name}s; choose one that does "
                f"not occur in the text, such as '<{name}>'"
                if there
                else f"tokens.{name} {marker!r}: every vocabulary has this token; choose another"
            )
    return dict(Counter(marker for marker in (spec.begin, spec.end) if marker))


def _count_characters(shards: Sequence[Path], spec: TokensSpec, work: Workspace) -> pl.DataFrame:
    steps = steps_of("count", count_characters, shards, spec=spec)
    done = work.steps.run(work.scratch, steps, work.progress, "train shards counted")
    return summed(work.scratch, done)


def _count_words(
    shards: Sequence[Path], spec: TokensSpec, work: Workspace
) -> tuple[pl.DataFrame, bool]:
    """And whether some have marks. If none has, the vocabulary is that of earlier versions, with
    the same bytes: nothing that was learned from it must be learned again."""
    steps = steps_of("count", count_words, shards, spec=spec)
    done = work.steps.run(work.scratch, steps, work.progress, "train shards counted")
    return summed(work.scratch, done), any(one.found["marked"] for one in done)
