"""The amount of text in a split of the tokens stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from pipelines.store.artifacts import Artifact


@dataclass(frozen=True)
class TokenizedSplit:
    """The documents of a split, from the tokens stage. Its size does not grow with their number."""

    by_length: np.ndarray  # (longest + 1,) documents with n tokens, including markers
    tokens: int  # before truncation, including markers
    characters: int  # of the text itself, before truncation

    @classmethod
    def read(cls, tokens: Artifact, split: str) -> TokenizedSplit:
        found = cls(np.zeros(1, np.int64), 0, 0)
        for shard in tokens.files(f"tokens/{split}-"):
            table = pq.read_table(shard, columns=["length", "truncated", "characters"])
            lengths, truncated, characters = (column.to_numpy() for column in table.columns)
            found = cls(
                _sum(found.by_length, np.bincount(lengths)),
                found.tokens + int(lengths.sum(dtype=np.int64) + truncated.sum(dtype=np.int64)),
                found.characters + int(characters.sum()),
            )
        return found

    @property
    def documents(self) -> int:
        return int(self.by_length.sum())

    @property
    def kept(self) -> int:
        """Tokens after truncation."""
        return int(self.by_length @ np.arange(len(self.by_length)))

    def beyond(self, length: int) -> int:
        """Tokens of all documents after their first `length` ones."""
        longer = self.by_length[length:]
        return int(longer @ np.arange(len(longer)))

    def shorter_than(self, length: int) -> int:
        """How many documents have fewer tokens."""
        return int(self.by_length[:length].sum())

    def spelled(self, predicted: int, markers: int) -> int:
        """Characters spelled by `predicted` tokens of the text, with `markers` per document.

        Exact if each token is a character; else in proportion to all tokens of the text.
        """
        tokens = self.tokens - markers * self.documents
        return round(self.characters * predicted / tokens) if tokens else 0


def _sum(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    short, total = sorted((one, other.astype(np.int64)), key=len)
    total = total.copy()
    total[: len(short)] += short
    return total
