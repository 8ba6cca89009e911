"""How text is split into words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

# A word includes combining marks (vowels of Hindi and Thai, accents of decomposed Latin) and
# joiners (Persian, Indic scripts), as in Unicode's UAX 29. A mark without a letter is no word.
MARKED = r"[\p{L}\p{N}_][\p{L}\p{M}\p{N}_\u{200C}\u{200D}]*"
# What Python's \w matches, spelled out: splits like tensorflow-datasets' Tokenizer, and cuts words
# at their marks. Vocabularies of earlier versions were made with it.
UNMARKED = r"[\p{L}\p{N}_]+"
# Combining marks belong to their letter.
PUNCTUATION = r"[\p{L}\p{M}\p{N}_]+(?:['’][\p{L}\p{M}]+)?|[^\s\p{L}\p{M}\p{N}_]"
PATTERNS = {"all": UNMARKED, "punctuation": PUNCTUATION}
MARKS = r"[\p{M}\u{200C}\u{200D}İ]"  # İ has one in lower case
DOTTED_I = "i\N{COMBINING DOT ABOVE}"  # the lower case of İ
UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"


def split_words(texts: pl.Series, lower: bool, words: str = "all", marks: bool = True) -> pl.Series:
    """A list of words per text.

    `all`: runs of letters, digits and underscores, with their combining marks if `marks`.
    `punctuation`: these, with an apostrophe and what follows, and each other character. `letters`:
    only the letters A to Z, ' and - are read; other characters are ignored, white space separates
    words, and words that start with - are left out.
    """
    import polars as pl

    text = pl.col("text").str.to_lowercase() if lower else pl.col("text")
    if words == "all" and marks:
        text = text.str.replace_all(DOTTED_I, "i", literal=True) if lower else text
        found = text.str.extract_all(MARKED)
    elif words in PATTERNS:
        found = text.str.extract_all(PATTERNS[words])
    else:
        read = text.str.replace_all(r"\s", " ").str.replace_all(r"[^a-zA-Z '\-]", "")
        found = read.str.replace_all(r"(^| )-[^ ]*", "").str.extract_all("[^ ]+")
    frame = texts.alias("text").to_frame().lazy().select(found)
    return frame.collect(engine="streaming")["text"]  # in small batches, on all cores


def has_marks(texts: pl.Series) -> bool:
    """Whether words are not the same with and without their marks."""
    beyond_ascii = texts.filter(texts.str.len_bytes() > texts.str.len_chars())
    return bool(beyond_ascii.str.contains(MARKS).any())
