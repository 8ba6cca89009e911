"""Estimates an n-gram model, interpolated.

Modified Kneser-Ney smoothing (Chen and Goodman 1998): a token's probability after a context is its
count there minus a discount; the discounted mass is distributed as after the context without its
oldest token, down to no context and finally uniformly over all tokens. Shorter contexts count in
how many different places a token was seen, not how often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from pipelines.counting.ngrams import Grams, NGrams, Sequences, before, find

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

MOST_TOKENS = 10_000_000  # the first tokens of the train split: their 5-grams take at most 2 GB
LEAST_DISCOUNT = 0.1  # of a count, so that every context leaves some probability to unseen tokens


def train_text(tokens: Artifact, joined: bool) -> Sequences:
    """The train split of a tokens artifact, cut after MOST_TOKENS.

    `joined`: the documents are one running text.
    """
    ids, lengths = [np.empty(0, np.int32)], [0]
    for shard in tokens.files("tokens/train-"):
        table = pq.read_table(shard, columns=["tokens", "length"])
        ids += [chunk.flatten().to_numpy() for chunk in table["tokens"].chunks]
        lengths += table["length"].to_pylist()
        if sum(lengths) >= MOST_TOKENS:
            break
    flat = np.concatenate(ids, dtype=np.int32)[:MOST_TOKENS]
    place = np.arange(len(flat), dtype=np.int32)
    if joined:
        return Sequences(flat, place)
    begins = np.repeat(np.cumsum(lengths)[:-1], lengths[1:])[: len(flat)]
    return Sequences(flat, (place - begins).astype(np.int32))


def estimated(train: Sequences, order: int, vocabulary: int) -> NGrams:
    """With `order` tokens per n-gram over ids 0 … vocabulary - 1; order 1: unigrams."""
    levels: list[_Level] = []
    strings = list(_strings(train, order, vocabulary))
    for n, (keys, suffix, counts) in enumerate(strings, 1):
        if n < len(strings):  # in how many longer n-grams each one is, without its first token
            counts = counts + np.bincount(strings[n][1], minlength=len(keys))
        levels.append(_smoothed(levels[-1] if levels else None, keys, suffix, counts, vocabulary))
    return NGrams(vocabulary, [level.grams for level in levels])


@dataclass(frozen=True)
class _Level:
    """N-grams of one length, and what the next longer ones need: `suffix` (n-grams,) is the index
    of the n-gram without its first token, among those of n-1; `best_probability` is that of the
    best next token of each context."""

    grams: Grams
    suffix: np.ndarray
    best_probability: np.ndarray


def _smoothed(
    shorter: _Level | None,
    keys: np.ndarray,
    suffix: np.ndarray,
    counts: np.ndarray,
    vocabulary: int,
) -> _Level:
    context = keys // vocabulary
    contexts = len(shorter.grams.keys) if shorter else 1
    discount = _discounts(counts)[np.minimum(counts, 3)]
    total = np.bincount(context, counts, contexts)
    rest = np.divide(
        np.bincount(context, discount, contexts), total, out=np.ones(contexts), where=total > 0
    )
    lower = shorter.grams.probability[suffix] if shorter else 1 / vocabulary
    probability = (counts - discount) / total[context] + rest[context] * lower
    # A token not seen in a context is no more likely there than the shorter context's best.
    best = shorter.grams.best[shorter.suffix] if shorter else np.zeros(1, np.int32)
    most = rest * (shorter.best_probability[shorter.suffix] if shorter else lower)
    likelier = probability > most[context]
    order = np.lexsort((probability[likelier], context[likelier]))  # the best one last
    best[context[likelier][order]] = (keys % vocabulary)[likelier][order]
    most[context[likelier][order]] = probability[likelier][order]
    grams = Grams(keys, probability.astype(np.float32), rest.astype(np.float32), best)
    return _Level(grams, suffix, most.astype(np.float32))


def _strings(train: Sequences, order: int, vocabulary: int) -> Iterator[tuple[np.ndarray, ...]]:
    """For n = 1 … order: keys, suffixes, and how often: for n < order, with nothing before."""
    context = np.zeros(len(train.ids), np.int64)
    shorter_keys, shorter_suffix = np.zeros(1, np.int64), np.zeros(1, np.int32)
    for n in range(1, order + 1):
        known = np.flatnonzero(context >= 0)
        if not len(known):  # no text is that long
            return
        keys, number, counts = np.unique(
            context[known] * vocabulary + train.ids[known], return_inverse=True, return_counts=True
        )
        if n < order:
            counts = np.bincount(number[train.before[known] == n - 1], minlength=len(keys))
        suffix = np.zeros(len(keys), np.int32)
        if n > 1:
            prefix, last = np.divmod(keys, vocabulary)
            wanted = shorter_suffix[prefix].astype(np.int64) * vocabulary + last
            suffix = find(shorter_keys, wanted)[0].astype(np.int32)
        yield keys, suffix, counts.astype(np.int32)
        string = np.full(len(train.ids), -1, np.int64)
        string[known] = number
        context = before(string, train.before >= n)
        shorter_keys, shorter_suffix = keys, suffix


def _discounts(counts: np.ndarray) -> np.ndarray:
    """The discounts of counts 0, 1, 2 and 3 or more (Chen and Goodman 1998, section 3.3); half of
    them if too few n-grams occur once and twice."""
    seen = [int((counts == c).sum()) for c in range(1, 5)]
    if not all(seen[:3]):
        return np.array([0.0, 0.5, 1.0, 1.5])
    share = seen[0] / (seen[0] + 2 * seen[1])
    taken = [c - (c + 1) * share * seen[c] / seen[c - 1] for c in (1, 2, 3)]
    return np.array([0.0, *np.clip(taken, LEAST_DISCOUNT, (1, 2, 3))])
