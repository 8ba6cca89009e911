"""The tokens a model knows, and how text becomes their ids and ids become text again.

A vocabulary is two files that people can read: `tokens.tsv` (id, token as JSON, count in train)
and `settings.json` (kind, lower). Id 0 is padding, id 1 the unknown token.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.fingerprint import digest_file

if TYPE_CHECKING:
    import polars as pl

PAD_ID = 0
UNKNOWN_ID = 1
SPECIAL = ("<pad>", "<unknown>")
# What Python's \w matches, spelled out: the split that tensorflow-datasets' Tokenizer makes.
WORD = r"[\p{L}\p{N}_]+"


@dataclass(frozen=True)
class Vocabulary:
    """`tokens[i]` is the token of id i; `counts[i]` how often train has it."""

    kind: str
    lower: bool
    tokens: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.tokens)

    @property
    def id_type(self) -> type[np.generic]:
        """The narrowest type that Parquet batches use for the ids."""
        return np.uint16 if self.size <= 2**16 else np.int32

    def encode(self, text: str) -> np.ndarray:
        """Ids of one text: (tokens,) in `id_type`; characters or words never seen become 1."""
        if self.kind == "char":
            return self.encode_characters(text)
        import polars as pl

        return self.encode_words(pl.Series([text], dtype=pl.String))[0].to_numpy()

    def encode_characters(self, text: str) -> np.ndarray:
        points = np.frombuffer(self._folded(text).encode("utf-32-le"), np.uint32)
        return self._table[np.minimum(points, self._table.size - 1)]

    def encode_words(self, texts: pl.Series) -> pl.Series:
        """A list of ids per text."""
        import polars as pl

        known = pl.Enum(self.tokens)
        codes = pl.element().cast(known, strict=False).to_physical().fill_null(UNKNOWN_ID)
        kind = pl.UInt16 if self.id_type is np.uint16 else pl.Int32
        return split_words(texts, self.lower).list.eval(codes.cast(kind))

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids, padding left out. Words are joined by blanks."""
        glue = "" if self.kind == "char" else " "
        return glue.join(self.tokens[i] for i in ids if i != PAD_ID)

    def unknown_in(self, text: str) -> list[str]:
        """The distinct characters or words of `text` that are not in the vocabulary, in order."""
        if self.kind == "char":
            parts = list(self._folded(text))
        else:
            import polars as pl

            parts = split_words(pl.Series([text], dtype=pl.String), self.lower)[0].to_list()
        return [part for part in dict.fromkeys(parts) if part not in self._known]

    def _folded(self, text: str) -> str:
        return text.lower() if self.lower else text

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.tokens[len(SPECIAL):])

    @cached_property
    def _table(self) -> np.ndarray:
        """Code point → id; the last entry stands for all code points beyond the known ones."""
        points = [ord(token) for token in self.tokens[len(SPECIAL):]]
        table = np.full(max(points, default=0) + 2, UNKNOWN_ID, self.id_type)
        table[points] = np.arange(len(SPECIAL), self.size)
        return table

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "tokens.tsv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None,
                              lineterminator="\n")
            rows.writerow(("id", "token", "count"))
            for i, (token, count) in enumerate(zip(self.tokens, self.counts, strict=True)):
                rows.writerow((i, json.dumps(token, ensure_ascii=False), count))
        settings = {"kind": self.kind, "lower": self.lower}
        (folder / "settings.json").write_text(json.dumps(settings) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        lines = (folder / "tokens.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
        fields = [line.split("\t") for line in lines]
        return cls(settings["kind"], settings["lower"],
                   tuple(json.loads(field[1]) for field in fields),
                   tuple(int(field[2]) for field in fields))


def split_words(texts: pl.Series, lower: bool) -> pl.Series:
    """A list of words per text: runs of letters, digits and underscores."""
    import polars as pl

    words = pl.col("text").str.to_lowercase() if lower else pl.col("text")
    frame = texts.alias("text").to_frame().lazy().select(words.str.extract_all(WORD))
    return frame.collect(engine="streaming")["text"]  # in morsels, on all cores


def folder_digest(folder: Path) -> str:
    """Digest of the vocabulary's tokens: what batches and models were made with."""
    return digest_file(folder / "tokens.tsv")
