"""The tokens stage: a vocabulary learned only from train, and every document as ids.

Writes `vocabulary/` and `tokens/<split>-NNNN.parquet` with columns id, split, tokens (list of ids,
including the markers `begin` and `end`), length, label, characters (of the text itself, before
truncation) and truncated (tokens cut off).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipelines.declaration.model_sections import TokensSpec
from pipelines.steps.step import Done
from pipelines.store.artifacts import Inputs, Workspace
from pipelines.tokens.learning import learn, started_from
from pipelines.tokens.shard_steps import VOCABULARY, Totals, encoded
from pipelines.tokens.vocabulary import Vocabulary


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Learn the vocabulary, then encode every split. Returns counts per split."""
    spec: TokensSpec = config["tokens"]
    corpus = inputs["corpus"]
    train, notices = corpus.files("documents/train-"), list[str]()
    if start := inputs.get("start"):
        theirs = Vocabulary.load(start.path / "vocabulary")
        vocabulary = started_from(theirs, train, spec, work)
    else:
        vocabulary, notices = learn(train, spec, work)
    counted_later = start is not None or spec.kind == "subword"
    vocabulary.save(work.scratch / VOCABULARY)  # for the steps
    done = encoded(corpus.files("documents/"), spec, counted_later, work)
    if counted_later:  # the counts in train are known only after encoding
        vocabulary = replace(vocabulary, counts=_seen(done, vocabulary.size, work))
    vocabulary.save(work.out / VOCABULARY)
    classes = len(corpus.counts.get("labels", ()))
    return (
        {"vocabulary": vocabulary.size}
        | _totals(done)
        | ({"classes": classes} if classes > 2 else {})
        | ({"notices": notices} if notices else {})
    )


def _totals(done: Sequence[Done]) -> dict[str, Any]:
    """The sums of each split."""
    totals: dict[str, Totals] = {}
    for one in done:
        for split in one.found["splits"]:
            totals.setdefault(split, Totals()).add(Totals(**one.found["totals"]))
    return {split: vars(total) for split, total in totals.items()}


def _seen(done: Sequence[Done], size: int, work: Workspace) -> tuple[int, ...]:
    """How often each id occurs in train."""
    names = [name for one in done for name in one.files if name.startswith("seen/")]
    seen = sum((np.load(work.scratch / name) for name in names), np.zeros(size, np.int64))
    return tuple(seen.tolist())
