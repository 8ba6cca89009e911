"""The amount of text in a split of the tokens stage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from pipelines.store.artifacts import Artifact


@dataclass(frozen=True)
class TokenizedSplit:
    """The documents of a split, from the tokens stage."""

    lengths: np.ndarray  # (documents,) tokens, including markers
    tokens: int  # before truncation, including markers
    characters: int  # of the text itself, before truncation

    @classmethod
    def read(cls, tokens: Artifact, split: str) -> TokenizedSplit:
        columns = ["length", "truncated", "characters"]
        tables = [
            pq.read_table(shard, columns=columns) for shard in tokens.files(f"tokens/{split}-")
        ]
        lengths, truncated, characters = (
            np.concatenate([np.empty(0, np.int64), *(table[name].to_numpy() for table in tables)])
            for name in columns
        )
        return cls(lengths, int((lengths + truncated).sum()), int(characters.sum()))

    def spelled(self, predicted: int, markers: int) -> int:
        """Characters spelled by `predicted` tokens of the text, with `markers` per document.

        Exact if each token is a character; else in proportion to all tokens of the text.
        """
        tokens = self.tokens - markers * len(self.lengths)
        return round(self.characters * predicted / tokens) if tokens else 0
