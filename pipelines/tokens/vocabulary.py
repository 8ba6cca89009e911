"""A model's tokens, and the conversion between text and their ids.

A vocabulary consists of readable files: `tokens.tsv` (id, token as JSON, count in train) and
`settings.json` (how text is split, the markers, the padding and unknown ids). Subwords also have
SentencePiece's own file, `subwords.model`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.errors import DamagedError
from pipelines.files.digests import digest_file
from pipelines.files.small_files import read_object
from pipelines.tokens import subwords
from pipelines.tokens.words import PATTERNS, split_words

if TYPE_CHECKING:
    import polars as pl

PAD_ID = 0  # for characters and words; `Vocabulary.pad_id` and `unknown_id` apply to all kinds
UNKNOWN_ID = 1
SPECIAL = ("<pad>", "<unknown>")
# The allowed fields of settings.json and their types. The first two are required.
SETTINGS: dict[str, tuple[type, ...]] = {
    "kind": (str,),
    "lower": (bool,),
    "words": (str,),
    "begin": (str, type(None)),
    "end": (str, type(None)),
    "pad_id": (int,),
    "unknown_id": (int,),
    "marks": (bool,),
}
TOKENS_FILE, SETTINGS_FILE, MODEL_FILE = "tokens.tsv", "settings.json", "subwords.model"


@dataclass(frozen=True)
class Vocabulary:
    """`tokens[i]` is the token with id i; `counts[i]` its frequency in train.

    `begin` and `end` are the tokens put around each document. Text is never encoded to them: the
    same characters or word in a text become the unknown token.
    """

    kind: str
    lower: bool
    tokens: tuple[str, ...]
    counts: tuple[int, ...]
    words: str = "all"
    begin: str | None = None
    end: str | None = None
    pad_id: int = PAD_ID
    unknown_id: int = UNKNOWN_ID
    model: bytes | None = field(default=None, repr=False)
    marks: bool = False  # words keep their combining marks; the train text has some

    @property
    def size(self) -> int:
        return len(self.tokens)

    @property
    def id_type(self) -> type[np.generic]:
        """The narrowest type for the ids in Parquet batches."""
        return np.uint16 if self.size <= 2**16 else np.int32

    @cached_property
    def begin_id(self) -> int | None:
        return None if self.begin is None else self.tokens.index(self.begin)

    @cached_property
    def end_id(self) -> int | None:
        return None if self.end is None else self.tokens.index(self.end)

    @property
    def markers(self) -> tuple[int, ...]:
        """The ids of `begin` and `end`, if they are set."""
        return tuple(i for i in (self.begin_id, self.end_id) if i is not None)

    @property
    def never_drawn(self) -> tuple[int, ...]:
        """Ids that generated text must not contain: padding, unknown, and markers except the
        end's."""
        special = {self.pad_id, self.unknown_id, *self.markers}
        if self.kind == "subword":
            special |= {subwords.BEGIN_ID, subwords.END_ID}
        return tuple(sorted(special - {self.end_id}))

    def encode(self, text: str) -> np.ndarray:
        """Ids of one text, without markers: (tokens,) in `id_type`."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str] | pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """Ids of all texts, concatenated, in `id_type`, and where each starts: (texts + 1,)."""
        if self.kind == "word":
            import polars as pl

            lists = self.encode_words(pl.Series(texts, dtype=pl.String)).to_arrow()
            return lists.flatten().to_numpy(), lists.offsets.to_numpy() - lists.offsets[0].as_py()
        if self.kind == "char":
            ids = [self._encode_characters(text) for text in texts]
        else:
            ids = self._processor.encode([self._folded(t) for t in texts], return_type="numpy")
        edges = np.cumsum([0, *map(len, ids)])
        flat = np.concatenate([np.empty(0, self.id_type), *ids])
        return flat.astype(self.id_type, copy=False), edges

    def _encode_characters(self, text: str) -> np.ndarray:
        points = np.frombuffer(self._folded(text).encode("utf-32-le"), np.uint32)
        return self._table[np.minimum(points, self._table.size - 1)]

    def encode_words(self, texts: pl.Series) -> pl.Series:
        """A list of ids per text."""
        import polars as pl

        return self.split(texts).list.eval(self._coded(pl.element()))

    def ids_of(self, words: pl.Series) -> np.ndarray:
        """The id of each word, in `id_type`."""
        import polars as pl

        frame = words.alias("word").to_frame().select(self._coded(pl.col("word")))
        return frame["word"].to_numpy()

    def _coded(self, words: pl.Expr) -> pl.Expr:
        import polars as pl

        # No word contains these characters, so no word of the text is taken for a special token.
        special = {i: f"<{i}>" for i in (self.pad_id, self.unknown_id, *self.markers)}
        known = pl.Enum([special.get(i, token) for i, token in enumerate(self.tokens)])
        codes = words.cast(known, strict=False).to_physical().fill_null(self.unknown_id)
        return codes.cast(pl.UInt16 if self.id_type is np.uint16 else pl.Int32)

    def split(self, texts: pl.Series) -> pl.Series:
        """A list of words per text."""
        return split_words(texts, self.lower, self.words, self.marks)

    def decode(self, ids: np.ndarray) -> str:
        """The text of ids, without padding and markers. Words are joined by spaces."""
        silent = {self.pad_id, *self.markers}
        shown = [int(i) for i in ids if i not in silent]
        if self.kind == "subword":
            return self._processor.decode(shown)
        return ("" if self.kind == "char" else " ").join(self.tokens[i] for i in shown)

    def unknown_in(self, text: str) -> list[str]:
        """The distinct characters or words of `text` that are not in the vocabulary, in order."""
        if self.kind == "subword":
            return subwords.unknown_characters(self._processor, self._folded(text))
        if self.kind == "char":
            parts = list(self._folded(text))
        else:
            import polars as pl

            parts = self.split(pl.Series([text], dtype=pl.String))[0].to_list()
        return [part for part in dict.fromkeys(parts) if part not in self._known]

    def _folded(self, text: str) -> str:
        return text.lower() if self.lower else text

    @cached_property
    def _known(self) -> dict[str, int]:
        """Token → id, for the tokens that a text can contain."""
        special = {self.pad_id, self.unknown_id, *self.markers}
        return {token: i for i, token in enumerate(self.tokens) if i not in special}

    @cached_property
    def _table(self) -> np.ndarray:
        """Code point → id; the last entry is for all code points beyond the known ones."""
        points = [ord(token) for token in self._known]
        table = np.full(max(points, default=0) + 2, self.unknown_id, self.id_type)
        table[points] = list(self._known.values())
        return table

    @cached_property
    def _processor(self) -> Any:
        assert self.model is not None, f"kind {self.kind} has no SentencePiece model"
        return subwords.load(self.model)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # One call for all tokens, one per line: JSON strings contain no line ends.
        listing = json.dumps(self.tokens, ensure_ascii=False, separators=("\n", ":"))[1:-1]
        lines = [
            "id\ttoken\tcount",
            *(
                f"{i}\t{token}\t{count}"
                for i, (token, count) in enumerate(
                    zip(listing.split("\n"), self.counts, strict=True)
                )
            ),
        ]
        (folder / TOKENS_FILE).write_bytes("".join(f"{line}\n" for line in lines).encode())
        settings = {name: getattr(self, name) for name in SETTINGS if name != "marks" or self.marks}
        text = json.dumps(settings, ensure_ascii=False)
        (folder / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")
        if self.model is not None:
            (folder / MODEL_FILE).write_bytes(self.model)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Raises DamagedError if the files are not as `save` writes them."""
        settings = _read_settings(folder / SETTINGS_FILE)
        try:
            tokens, counts = _read_tokens(folder / TOKENS_FILE)
            model = (folder / MODEL_FILE).read_bytes() if settings["kind"] == "subword" else None
        except FileNotFoundError as error:
            raise DamagedError(f"{error.filename}: is missing") from error
        except (ValueError, IndexError, TypeError, RecursionError) as error:
            raise DamagedError(
                f"{folder / TOKENS_FILE}: not lines of id, token and count ({type(error).__name__})"
            ) from error
        vocabulary = cls(tokens=tokens, counts=counts, model=model, **settings)
        if flaw := vocabulary._flaw():
            raise DamagedError(f"{folder}: not a vocabulary: {flaw}")
        return vocabulary

    def _flaw(self) -> str | None:
        """Why this cannot be a learned vocabulary; None if it can."""
        ids = range(self.size)
        if self.kind not in ("char", "word", "subword") or self.words not in (*PATTERNS, "letters"):
            return f"no way of splitting text is called {self.kind} {self.words}"
        if len(set(self.tokens)) != self.size:
            return "a token occurs twice"
        if self.pad_id == self.unknown_id or not {self.pad_id, self.unknown_id} <= set(ids):
            return f"padding is {self.pad_id} and the unknown token {self.unknown_id}"
        if not {self.begin, self.end} - {None} <= set(self.tokens):
            return "a marker is not among its tokens"
        if self.kind == "char" and any(len(token) != 1 for token in self._known):
            return "a token is not one character"
        if self.kind == "subword" and self.tokens != subwords.pieces(self._processor):
            return f"its tokens are not those of {MODEL_FILE}"
        return None


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings = read_object(path, kind=str, lower=bool)
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: is missing") from error
    for name, value in settings.items():
        if type(value) not in SETTINGS.get(name, ()):
            raise DamagedError(f"{path}: its {name!r} is unknown, or of the wrong type")
    return settings


def _read_tokens(path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Tokens and their counts. Raises ValueError or IndexError if the file has another format."""
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8").split("\n")[1:-1]]
    # One call for all tokens: far faster than one for each.
    tokens = json.loads("[" + ",".join(row[1] for row in rows) + "]")
    "".join(tokens).encode()  # not a text, or half a surrogate pair
    ids, counts = ([int(row[place]) for row in rows] for place in (0, 2))
    if ids != list(range(len(tokens))) or min(counts, default=0) < 0:
        raise ValueError
    return tuple(tokens), tuple(counts)


def folder_digest(folder: Path) -> str:
    """Digest of the vocabulary's tokens: what batches and models were made with."""
    return digest_file(folder / TOKENS_FILE)
