"""The n-gram baseline on the same held-out tokens, interpolated.

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

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

MOST_TOKENS = 10_000_000  # the first tokens of the train split: their 5-grams take at most 2 GB
LEAST_DISCOUNT = 0.1  # of a count, so that every context leaves some probability to unseen tokens


@dataclass(frozen=True)
class Sequences:
    """Texts' tokens, concatenated: `ids` (n,), and `before` (n,): how many its own text has
    before."""

    ids: np.ndarray
    before: np.ndarray

    @classmethod
    def of_train(cls, tokens: Artifact, joined: bool) -> Sequences:
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
            return cls(flat, place)
        begins = np.repeat(np.cumsum(lengths)[:-1], lengths[1:])[: len(flat)]
        return cls(flat, (place - begins).astype(np.int32))


@dataclass(frozen=True)
class Grams:
    """All n-grams seen in training, in the order of `keys` (n-grams,).

    A key is (index of the n-gram without its last token, among those of n-1) · V + last token;
    `suffix` (n-grams,) is the index of the n-gram without its first token, among those of n-1;
    `probability` (n-grams,) that of the last token after the others. For each (n-1)-gram as a
    context: `rest` is the share left to shorter contexts, `best` the most likely next token and
    `best_probability` its probability.
    """

    keys: np.ndarray
    suffix: np.ndarray
    probability: np.ndarray
    rest: np.ndarray
    best: np.ndarray
    best_probability: np.ndarray


def baselines(
    train: Sequences, held_out: Sequences, predicted: np.ndarray, order: int, vocabulary: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{name: (nats, correct)} of the unigram and of the n-gram model, both (predicted tokens,).
    `predicted` (n,) says which tokens of `held_out` count."""
    found = {}
    for n in sorted({1, order}):
        probability, guess = NGrams(train, n, vocabulary).score(held_out)
        name = "unigram" if n == 1 else f"{n}-gram"
        found[name] = -np.log(probability[predicted]), (guess == held_out.ids)[predicted]
    return found


class NGrams:
    """An n-gram model with `order` tokens per n-gram over ids 0 … vocabulary - 1; order 1:
    unigrams."""

    def __init__(self, train: Sequences, order: int, vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.grams: list[Grams] = []
        strings = list(_strings(train, order, vocabulary))
        for n, (keys, suffix, counts) in enumerate(strings, 1):
            if n < len(strings):  # in how many longer n-grams each one is, without its first token
                counts = counts + np.bincount(strings[n][1], minlength=len(keys))
            self.grams.append(self._smoothed(keys, suffix, counts))

    def score(self, text: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """Per token (n,): its probability after those before it, and the most likely token
        there."""
        probability = np.full(len(text.ids), 1 / self.vocabulary)
        guess = np.zeros(len(text.ids), np.int64)
        context = np.zeros(len(text.ids), np.int64)
        for n, grams in enumerate(self.grams, 1):
            known = np.flatnonzero(context >= 0)
            at, found = _find(grams.keys, context[known] * self.vocabulary + text.ids[known])
            rest = grams.rest[context[known]] * probability[known]
            probability[known] = np.where(found, grams.probability[at], rest)
            guess[known] = grams.best[context[known]]
            string = np.full(len(text.ids), -1)
            string[known[found]] = at[found]
            context = _before(string, text.before >= n)
        return probability, guess

    def _smoothed(self, keys: np.ndarray, suffix: np.ndarray, counts: np.ndarray) -> Grams:
        shorter = self.grams[-1] if self.grams else None
        context = keys // self.vocabulary
        contexts = len(shorter.keys) if shorter else 1
        discount = _discounts(counts)[np.minimum(counts, 3)]
        total = np.bincount(context, counts, contexts)
        rest = np.divide(
            np.bincount(context, discount, contexts), total, out=np.ones(contexts), where=total > 0
        )
        lower = shorter.probability[suffix] if shorter else 1 / self.vocabulary
        probability = (counts - discount) / total[context] + rest[context] * lower
        # A token not seen in a context is no more likely there than the shorter context's best.
        best = shorter.best[shorter.suffix] if shorter else np.zeros(1, np.int32)
        most = rest * (shorter.best_probability[shorter.suffix] if shorter else lower)
        likelier = probability > most[context]
        order = np.lexsort((probability[likelier], context[likelier]))  # the best one last
        best[context[likelier][order]] = (keys % self.vocabulary)[likelier][order]
        most[context[likelier][order]] = probability[likelier][order]
        return Grams(
            keys,
            suffix,
            probability.astype(np.float32),
            rest.astype(np.float32),
            best,
            most.astype(np.float32),
        )


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
            suffix = _find(shorter_keys, wanted)[0].astype(np.int32)
        yield keys, suffix, counts.astype(np.int32)
        string = np.full(len(train.ids), -1, np.int64)
        string[known] = number
        context = _before(string, train.before >= n)
        shorter_keys, shorter_suffix = keys, suffix


def _before(string: np.ndarray, same_text: np.ndarray) -> np.ndarray:
    """The n-gram that ends before each token, -1 if there is none of that length."""
    return np.where(same_text, np.concatenate([[-1], string[:-1]]), -1)


def _find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The position of each wanted key among the sorted keys, and whether it is there."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted


def _discounts(counts: np.ndarray) -> np.ndarray:
    """The discounts of counts 0, 1, 2 and 3 or more (Chen and Goodman 1998, section 3.3); half of
    them if too few n-grams occur once and twice."""
    seen = [int((counts == c).sum()) for c in range(1, 5)]
    if not all(seen[:3]):
        return np.array([0.0, 0.5, 1.0, 1.5])
    share = seen[0] / (seen[0] + 2 * seen[1])
    taken = [c - (c + 1) * share * seen[c] / seen[c - 1] for c in (1, 2, 3)]
    return np.array([0.0, *np.clip(taken, LEAST_DISCOUNT, (1, 2, 3))])
