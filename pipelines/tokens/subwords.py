"""Subwords: a SentencePiece unigram model (Kudo 2018), learned only from train.

Text is not normalized: decoding gives the encoded text, except for characters too rare to be a
piece and for U+2581, which SentencePiece itself uses for a space.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from pipelines.errors import DamagedError, FolioError

if TYPE_CHECKING:
    import polars as pl
    import sentencepiece

DEFAULT_SIZE = 8000  # pieces
UNKNOWN_ID, BEGIN_ID, END_ID, PAD_ID = 0, 1, 2, 3
SAMPLE_CHARACTERS = 10_000_000  # read for learning; more takes minutes and changes few pieces
LINE_CHARACTERS = 1000  # longer lines are read in parts: time grows faster than length
# SentencePiece silently skips sentences that contain one of these.
RESERVED = re.compile("[\n\0\u2585]")
# Every character is a piece if that takes at most a quarter of the pieces; else the rarest are
# unknown, as SentencePiece advises for Japanese and Chinese.
ALL_CHARACTERS, MOST_CHARACTERS = 1.0, 0.9995
# Initial candidates, a tenth of SentencePiece's default: half the time for equally good pieces.
SEEDS = 100_000
THREADS = 2  # sums of floats depend on it, so it is fixed on every machine


def train(
    read: Callable[[], Iterable[pl.Series]],
    size: int,
    lower: bool,
    begin: str | None,
    end: str | None,
) -> bytes:
    """The model file's bytes, with `size` pieces: the same for the same texts.

    `read` reads the texts anew each time. Ids 0 to 3 are the unknown piece, `begin` (else <s>),
    `end` (else </s>) and padding. Raises FolioError if the text does not fit `size`.
    """
    import sentencepiece

    characters, breaks = 0, False
    for texts in read():
        characters += int(texts.str.len_chars().sum())
        breaks = breaks or bool(texts.str.contains("\n", literal=True).any())
    lines = list(_sample(read(), max(1, -(-characters // SAMPLE_CHARACTERS)), lower))
    if not lines:
        raise FolioError("corpus train split: no text to learn subwords from")
    alphabet = set().union(*lines)
    for name, marker in (("begin", begin), ("end", end)):
        if marker in alphabet:
            raise FolioError(
                f"tokens.{name} {marker!r}: occurs in the train text, so it cannot mark "
                f"where a document {name}s; choose a longer one, such as '<{name}>'"
            )
    file = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=file,
            model_type="unigram",
            vocab_size=size,
            character_coverage=(ALL_CHARACTERS if 4 * len(alphabet) <= size else MOST_CHARACTERS),
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            user_defined_symbols=["\n"] if breaks else [],
            unk_id=UNKNOWN_ID,
            bos_id=BEGIN_ID,
            eos_id=END_ID,
            pad_id=PAD_ID,
            unk_piece="<unknown>",
            unk_surface="<unknown>",
            bos_piece=begin or "<s>",
            eos_piece=end or "</s>",
            pad_piece="<pad>",
            seed_sentencepiece_size=max(SEEDS, 10 * size),
            num_threads=THREADS,
            max_sentence_length=8 * LINE_CHARACTERS,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise _clearer(error, size) from error
    return file.getvalue()


def _sample(shards: Iterable[pl.Series], stride: int, lower: bool) -> Iterator[str]:
    """Every `stride`-th line of the texts, over their whole length."""
    number = 0
    for texts in shards:
        for text in texts:
            for line in _lines(text.lower() if lower else text):
                if number % stride == 0:
                    yield line
                number += 1


def _lines(text: str) -> Iterator[str]:
    for line in RESERVED.split(text):
        for first in range(0, len(line), LINE_CHARACTERS):
            yield line[first : first + LINE_CHARACTERS]


def _clearer(error: Exception, size: int) -> FolioError:
    """SentencePiece's message (a place in its source, a condition, words) in our words."""
    message = str(error)
    if found := re.search(r"set it to a value <= (\d+)", message):
        return FolioError(
            f"tokens.max_size {size}: the train text has at most {found[1]} subwords; set "
            f"tokens.max_size to {found[1]} or less, or give more text"
        )
    if found := re.search(r"required_chars\. \d+ vs (\d+)", message):
        return FolioError(
            f"tokens.max_size {size}: the characters of the train text alone make "
            f"{found[1]} subwords; set tokens.max_size well above {found[1]}"
        )
    if found := re.search(r"(\S+) is already defined", message):
        return FolioError(
            f"tokens.begin, tokens.end: {found[1]!r} is already used; choose different markers"
        )
    return FolioError(
        f"tokens: SentencePiece cannot learn {size} subwords from the train text: "
        f"{' '.join(message.split())}"
    )


def load(model: bytes) -> sentencepiece.SentencePieceProcessor:
    """Raises DamagedError if the bytes are not such a model."""
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, ValueError) as error:
        raise DamagedError(
            "the vocabulary's subwords.model is not a SentencePiece model; "
            "run the pipeline again from tokens"
        ) from error


def pieces(processor: sentencepiece.SentencePieceProcessor) -> tuple[str, ...]:
    """Every piece, by id; a space is written U+2581."""
    return tuple(processor.id_to_piece(list(range(processor.get_piece_size()))))


def unknown_characters(processor: sentencepiece.SentencePieceProcessor, text: str) -> list[str]:
    """The distinct characters of `text` that no piece contains, in order."""
    distinct = list(dict.fromkeys(text))
    return [
        character
        for character, ids in zip(distinct, processor.encode(distinct), strict=True)
        if UNKNOWN_ID in ids
    ]
