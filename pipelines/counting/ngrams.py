"""An n-gram model of tokens: probabilities of a text, and of every next token.

`kneser_ney.py` estimates it. Its files are plain arrays (`arrays.py`): part of the packages of
language models that are mixed with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pipelines.counting.arrays import read_array
from pipelines.errors import DamagedError


@dataclass(frozen=True)
class Sequences:
    """Texts' tokens, concatenated: `ids` (n,), and `before` (n,): how many its own text has
    before."""

    ids: np.ndarray
    before: np.ndarray


@dataclass(frozen=True)
class Grams:
    """All n-grams seen in training, in the order of `keys` (n-grams,).

    A key is (index of the n-gram without its last token, among those of n-1) · V + last token;
    `probability` (n-grams,) is that of the last token after the others. For each (n-1)-gram as a
    context: `rest` is the share left to shorter contexts, `best` the most likely next token.
    """

    keys: np.ndarray
    probability: np.ndarray
    rest: np.ndarray
    best: np.ndarray


@dataclass(frozen=True)
class NGrams:
    """A model over ids 0 … vocabulary - 1; `grams` of 1, 2, … tokens."""

    vocabulary: int
    grams: list[Grams]

    def score(self, text: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """Per token (n,): its probability after those before it, and the most likely token
        there."""
        probability = np.full(len(text.ids), 1 / self.vocabulary)
        guess = np.zeros(len(text.ids), np.int64)
        for grams, context, string in self._read(text):
            known, found = np.flatnonzero(context >= 0), np.flatnonzero(string >= 0)
            probability[known] *= grams.rest[context[known]]
            probability[found] = grams.probability[string[found]]
            guess[known] = grams.best[context[known]]
        return probability, guess

    def after(self, text: Sequences, at: np.ndarray) -> np.ndarray:
        """(places, V) float32: the probability of every token after those up to the place `at`
        (places,) in the text."""
        contexts, ending = [], np.zeros(len(text.ids), np.int64)
        for _, _, string in self._read(text):
            contexts.append(ending[at])
            ending = string
        shares = [np.ones(len(at), np.float32)]  # what longer contexts leave to each order
        for grams, context in zip(self.grams[:0:-1], contexts[:0:-1], strict=True):
            rest = np.where(context >= 0, grams.rest[context], np.float32(1))
            shares.append(shares[-1] * rest)
        found = shares.pop()[:, None] * self._unigrams  # (places, V)
        for grams, context in zip(self.grams[1:], contexts[1:], strict=True):
            place, gram = _continuations(grams.keys, context, self.vocabulary)
            found[place, grams.keys[gram] % self.vocabulary] = (
                grams.probability[gram] * shares.pop()[place]
            )
        return found

    @cached_property
    def _unigrams(self) -> np.ndarray:
        """(V,): the probabilities after no token."""
        (only,) = self.grams[0].rest
        found = np.full(self.vocabulary, only / self.vocabulary, np.float32)
        found[self.grams[0].keys] = self.grams[0].probability
        return found

    def _read(self, text: Sequences) -> Iterator[tuple[Grams, np.ndarray, np.ndarray]]:
        """For n = 1, 2, …: the n-grams, and per token (n,) the index of the n-1 tokens before it
        and that of the n tokens that end with it, -1 if they were not seen."""
        context = np.zeros(len(text.ids), np.int64)
        for n, grams in enumerate(self.grams, 1):
            known = np.flatnonzero(context >= 0)
            wanted = context[known] * self.vocabulary + text.ids[known]
            at, found = find(grams.keys, wanted)
            string = np.full(len(text.ids), -1)
            string[known[found]] = at[found]
            yield grams, context, string
            context = before(string, text.before >= n)

    def write(self, folder: Path) -> None:
        """As five arrays, those of all orders one after the other: what `read` reads."""
        ids = np.uint16 if self.vocabulary <= 2**16 else np.int32
        tokens = [(grams.keys % self.vocabulary).astype(ids) for grams in self.grams]
        sizes = [
            np.bincount(grams.keys // self.vocabulary, minlength=len(grams.rest)).astype(np.int32)
            for grams in self.grams
        ]
        arrays: dict[str, list[np.ndarray]] = {
            "tokens": tokens,
            "sizes": sizes,
            "probability": [grams.probability for grams in self.grams],
            "rest": [grams.rest for grams in self.grams],
            "best": [grams.best.astype(ids) for grams in self.grams],
        }
        for name, parts in arrays.items():
            np.save(folder / f"{name}.npy", np.concatenate(parts))

    @classmethod
    def read(cls, folder: Path, vocabulary: int) -> NGrams:
        """Raises DamagedError if the arrays do not belong together or to this vocabulary."""
        ids = "uint16" if vocabulary <= 2**16 else "int32"
        tokens, best = (read_array(folder / f"{name}.npy", ids) for name in ("tokens", "best"))
        sizes = read_array(folder / "sizes.npy", "int32")
        probability, rest = (
            read_array(folder / f"{name}.npy", "float32") for name in ("probability", "rest")
        )
        whole = (
            len(sizes) == len(rest) == len(best)
            and len(tokens) == len(probability) == sizes.sum(dtype=np.int64)
            and (sizes >= 0).all()
            and max(tokens.max(initial=0), best.max(initial=0)) < vocabulary
            and min(tokens.min(initial=0), best.min(initial=0)) >= 0
            and ((probability > 0) & (probability <= 1)).all()
            and ((rest >= 0) & (rest <= 1)).all()
        )
        grams: list[Grams] = []
        contexts, first, begin = 1, 0, 0
        while whole and first < len(sizes):
            end = first + contexts
            counts = sizes[first:end]
            stop = begin + int(counts.sum(dtype=np.int64))
            keys = np.repeat(np.arange(len(counts)) * vocabulary, counts) + tokens[begin:stop]
            whole = contexts > 0 and end <= len(sizes) and bool((np.diff(keys) > 0).all())
            grams.append(Grams(keys, probability[begin:stop], rest[first:end], best[first:end]))
            contexts, first, begin = len(keys), end, stop
        if not whole or not grams:
            raise DamagedError(f"{folder}: not the n-grams of a vocabulary of {vocabulary:,} ids")
        return cls(vocabulary, grams)


def before(string: np.ndarray, same_text: np.ndarray) -> np.ndarray:
    """The n-gram that ends before each token, -1 if there is none of that length."""
    return np.where(same_text, np.concatenate([[-1], string[:-1]]), -1)


def find(keys: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The position of each wanted key among the sorted keys, and whether it is there."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return at, keys[at] == wanted


def _continuations(
    keys: np.ndarray, context: np.ndarray, vocabulary: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which n-grams begin with each context (places,): their places, and their indices."""
    known = np.flatnonzero(context >= 0)
    first = np.searchsorted(keys, context[known] * vocabulary)
    counts = np.searchsorted(keys, (context[known] + 1) * vocabulary) - first
    steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.repeat(known, counts), np.repeat(first, counts) + steps
