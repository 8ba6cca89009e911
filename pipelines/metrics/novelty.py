"""How generated text differs from human text: what in it is new, and how varied it is.

Counted in words (sequences of letters and apostrophes), or in characters if the text has no spaces,
as in Japanese. The figures are only meaningful next to those of held-out text of the same length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pipelines.corpus.blanks import has_blanks
from pipelines.metrics.longest_copy import TrainText

Unit = Literal["words", "characters"]
WORD = re.compile(r"(?:[^\W\d_]|['’])+")
FIRST_WORD = re.compile(rf"\A{WORD.pattern}")
LAST_WORD = re.compile(rf"{WORD.pattern}\Z")
NOT_BLANK = re.compile(r"\S")
STRING = 10  # characters
ORDERS = (1, 2, 3, 4)  # units per sequence


def unit_of(text: str) -> Unit:
    """Words, or characters if less than one character in twenty is white space."""
    return "words" if has_blanks(sum(map(str.isspace, text)), len(text)) else "characters"


def split_units(text: str, unit: Unit) -> list[str]:
    """The words in lower case, or the characters except white space."""
    return _pattern(unit).findall(text.lower())


def _pattern(unit: Unit) -> re.Pattern[str]:
    return WORD if unit == "words" else NOT_BLANK


def without_last_word(text: str, unit: Unit) -> str:
    """Without the last word, which may be cut."""
    return LAST_WORD.sub("", text) if unit == "words" else text


def without_cut_words(text: str, unit: Unit) -> str:
    """Without the first and the last word, which may be cut."""
    text = without_last_word(text, unit)
    return FIRST_WORD.sub("", text) if unit == "words" else text


def stretches(text: str, count: int, characters: int, unit: Unit) -> list[str]:
    """`count` pieces of `characters` each, evenly spaced, without cut words; all of a shorter
    text."""
    if count * characters >= len(text):
        return [text]
    starts = np.linspace(0, len(text) - characters, count).astype(int)
    return [without_cut_words(text[start : start + characters], unit) for start in starts]


def trimmed(pieces: Iterable[str], units: int, unit: Unit) -> list[str]:
    """The first pieces that contain `units` units, the last one cut after the unit that completes
    them."""
    kept, left = [], units
    for piece in pieces:
        if not left:
            break
        ends = [match.end() for match in _pattern(unit).finditer(piece)]
        kept.append(piece if len(ends) <= left else piece[: ends[left - 1]])
        left -= min(len(ends), left)
    return kept


def side_by_side(
    texts: Mapping[str, Sequence[str]], train: Iterable[str], unit: Unit
) -> dict[str, Any] | None:
    """`compare` over the same number of units of each text, as many as the shortest has; and
    `longest_copy`: the longest passage of each that occurs verbatim in the training text.

    None if no text has any units; a text without any is left out.
    """
    lengths = {
        name: sum(len(split_units(piece, unit)) for piece in pieces)
        for name, pieces in texts.items()
    }
    units = min((length for length in lengths.values() if length), default=0)
    if not units:
        return None
    judged = {name: trimmed(pieces, units, unit) for name, pieces in texts.items() if lengths[name]}
    known = TrainText()
    figures = compare(judged, known.reading(train), unit)
    copies = {name: known.longest_copy(pieces) for name, pieces in judged.items()}
    return {
        "unit": unit,
        "units": units,
        "texts": figures,
        "longest_copy": {
            name: {"characters": len(passage), "passage": passage}
            for name, passage in copies.items()
        },
        "train_characters": known.characters,
    }


def compare(
    texts: Mapping[str, Sequence[str]], train: Iterable[str], unit: Unit
) -> dict[str, dict[str, Any]]:
    """Figures of each named text, given as pieces: {name: {figure: {count, of, share}}}.

    `known`: units that also occur in the training text; `new_3` and `new_4`: sequences of 3 and 4
    units that do not; `new_string`: sequences of 10 characters that do not; `distinct_1` to
    `distinct_3`: distinct sequences of n units among all. `train` is read once.
    """
    judged = {name: [_strings(piece, unit) for piece in pieces] for name, pieces in texts.items()}
    wanted = [
        set().union(*(piece[k] for pieces in judged.values() for piece in pieces))
        for k in range(len(ORDERS) + 1)
    ]
    seen: list[set[Any]] = [set() for _ in wanted]
    for text in train:
        for k, strings in enumerate(_strings(text, unit, lazily=True)):
            seen[k] |= wanted[k].intersection(strings)
    return {name: _figures(pieces, seen) for name, pieces in judged.items()}


def _strings(text: str, unit: Unit, lazily: bool = False) -> list[Any]:
    """The sequences of 1, 2, 3 and 4 units, and of 10 characters."""
    units = split_units(text, unit)
    found: list[Iterable[Any]] = [zip(*(units[i:] for i in range(n)), strict=False) for n in ORDERS]
    found.append(text[i : i + STRING] for i in range(len(text) - STRING + 1))
    return found if lazily else [list(strings) for strings in found]


def _figures(pieces: Sequence[Sequence[list[Any]]], seen: Sequence[set[Any]]) -> dict[str, Any]:
    one, two, three, four, strings = (
        [string for piece in pieces for string in piece[k]] for k in range(len(ORDERS) + 1)
    )
    known, _, seen_3, seen_4, seen_strings = seen
    return {
        "known": _share(sum(unit in known for unit in one), len(one)),
        "new_3": _share(sum(string not in seen_3 for string in three), len(three)),
        "new_4": _share(sum(string not in seen_4 for string in four), len(four)),
        "new_string": _share(sum(string not in seen_strings for string in strings), len(strings)),
        **{
            f"distinct_{n}": _share(len(set(grams)), len(grams))
            for n, grams in ((1, one), (2, two), (3, three))
        },
    }


def _share(count: int, of: int) -> dict[str, Any]:
    return {"count": count, "of": of, "share": count / of if of else None}
