"""Subwords: a SentencePiece unigram model (Kudo 2018), learned only from train.

Text is not normalized: decoding gives the encoded text, except for characters too rare to be a
piece and for U+2581, which SentencePiece itself uses for a space.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from pipelines.errors import DamagedError, FolioError

if TYPE_CHECKING:
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


def stride_of(characters: int) -> int:
    """Every which line is read for learning, of a text with so many characters."""
    return max(1, -(-characters // SAMPLE_CHARACTERS))


def learned(
    lines: Sequence[str], breaks: bool, size: int, begin: str | None, end: str | None
) -> bytes:
    """The model file's bytes, with `size` pieces: the same for the same lines.

    `breaks` says whether the whole text has line breaks. Ids 0 to 3 are the unknown piece, `begin`
    (else <s>), `end` (else </s>) and padding. Raises FolioError if the text does not fit `size`.
    """
    import sentencepiece

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


def sampled(texts: Iterable[str], stride: int, lower: bool, first: int = 0) -> Iterator[str]:
    """Every `stride`-th of the lines, which are numbered from `first`."""
    for number, line in enumerate(lines_of(texts, lower), first):
        if number % stride == 0:
            yield line


def lines_of(texts: Iterable[str], lower: bool) -> Iterator[str]:
    """The texts in parts that SentencePiece reads."""
    for text in texts:
        for line in RESERVED.split(text.lower() if lower else text):
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
