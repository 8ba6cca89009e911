"""Project Gutenberg's licence frames: which lines of a text are the text itself.

A frame opens with a header, up to a line such as "*** START OF …" or the end of the small print,
and closes with a line such as "*** END OF …" and the licence. A file may have several. What does
not look like a header or a licence is kept, whatever lines are near it, and reported.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.cleaning import composed
from pipelines.readers.documents import Notes

START, END, BOOK_END = "start", "end", "book end"
ENDING = r"(?:END|ENDE|FIN|FINE|FIM|EINDE)\b"
# Matched against a line in capitals with single spaces.
MARKS = {
    START: re.compile(
        r"\*{2,} ?(?:START|BEGIN|BEGINN|BEGINNING|D[EÉ]BUT|IN[IÍ]CIO|INIZIO)\b.{0,50}?\bGUTENBERG"
        r"(?!(?:-TM|™)? (?:FULL )?LICEN[CS]E)"
        r"|\*+ ?END ?\*{0,3} ?(?:OF )?(?:THE )?SMALL PRINT"
    ),
    END: re.compile(rf"\*{{2,}} ?{ENDING}.{{0,50}}?\bGUTENBERG"),
    BOOK_END: re.compile(
        rf"{ENDING}(?: \w{{1,8}}){{0,2}}? (?:PROJE[CK]TO?|PROJETO?|PROYECTO|PROGETTO) GUTENBERG"
    ),
}
# Words of headers and licences; at most some lines of them have none.
LICENCE = re.compile(
    r"gutenberg|e-?text|e-?book|licen[cs]e|small print|copyright|trademark|donat|foundation"
    r"|electronic work|refund|warrant",
    re.IGNORECASE,
)
TEXT_CHARACTERS = 1500  # so many in a row without such words are text
TITLE_LINES = 5  # that a title may have
LINE_WIDTH = 70  # a title that would fit is not wrapped
LONGEST_MARK = 2000  # characters of a line that may be a mark
HEADER_LINES = 30  # in which a header names the project


class Doubt(NamedTuple):
    """A line (from 0) like one of a frame, next to what is kept."""

    line: int
    text: str


@dataclass
class Kept:
    """The lines (first, after the last) that are text."""

    parts: list[tuple[int, int]]
    opened: bool = False  # something before the first part was removed
    closed: bool = False  # something after the last part was removed
    characters: int = 0  # of the whole text
    doubts: list[Doubt] = field(default_factory=list)


@dataclass
class _Mark:
    kind: str
    line: int
    after: int
    text: str


@dataclass
class _Region:
    """The lines between two marks."""

    first: int
    last: int
    left: _Mark | None
    right: _Mark | None
    blank: bool = True
    licence: int | None = None  # the first line with words of a licence
    texts: list[tuple[int, int]] = field(default_factory=list)  # long stretches without any


def find_text(read: Callable[[], Iterable[str]]) -> Kept:
    """What is text among the lines that `read` yields anew each time."""
    marks, header, lines, characters = _marks(read())
    whole = Kept([(0, lines)], characters=characters, doubts=[header] if header else [])
    if not marks:
        return whole
    kept = Kept([], characters=characters)
    kinds = {mark.kind for mark in marks}
    framed, ended = START in kinds, kinds != {START}
    for region in _regions(read(), marks, lines):
        parts, doubtful = _kept(region, framed, ended)
        kept.parts += parts
        near = region.left or region.right
        if parts and doubtful and near:
            kept.doubts.append(Doubt(near.line, near.text))
    if header and not framed:
        kept.doubts.append(header)
    removed = lines - sum(last - first for first, last in kept.parts)
    alone = len(marks) == 1 or not framed
    if alone and kept.doubts and removed == sum(mark.after - mark.line for mark in marks):
        return replace(whole, doubts=kept.doubts)  # such lines by chance
    kept.opened = not kept.parts or kept.parts[0][0] > 0
    kept.closed = not kept.parts or kept.parts[-1][1] < lines
    return kept


def _marks(lines: Iterable[str]) -> tuple[list[_Mark], Doubt | None, int, int]:
    """The marks, one of the first lines that names the project, and how many lines and characters
    there are."""
    marks: list[_Mark] = []
    header, number, title, characters = None, -1, 0, 0
    for number, line in enumerate(lines):
        characters += len(line)
        if len(line) > LONGEST_MARK:  # folding it would take many times its memory
            title = 0
            continue
        if title:  # the last mark may have another line
            title = _continued(marks[-1], line, number, title)
        if "utenberg" in line or "UTENBERG" in line or "SMALL" in line:
            folded = " ".join(line.split())
            kind = next((kind for kind, mark in MARKS.items() if mark.match(folded.upper())), None)
            if kind:
                marks.append(_Mark(kind, number, number + 1, folded))
                title = 0 if folded.endswith("*") else TITLE_LINES
            elif number < HEADER_LINES and header is None and "project guten" in folded.lower():
                header = Doubt(number, folded)
    return marks, header, number + 1, characters


def _continued(mark: _Mark, line: str, number: int, left: int) -> int:
    """Extends a mark over the lines of its title; returns how many more there may be."""
    folded = " ".join(line.split())
    if mark.kind == START:  # up to the stars that close it
        if folded.endswith("*"):
            mark.after = number + 1
        return left - 1 if folded and mark.after <= number else 0
    if not folded:  # the paragraph ends: it was the title, if it was wrapped
        mark.after = number
        return 0
    wrapped = number > mark.line + 1 or len(mark.text) + 1 + len(folded.split()[0]) > LINE_WIDTH
    return left - 1 if wrapped else 0


def _regions(lines: Iterable[str], marks: Sequence[_Mark], count: int) -> list[_Region]:
    firsts = [0, *(mark.after for mark in marks)]
    lasts = [*(mark.line for mark in marks), count]
    sides = zip((None, *marks), (*marks, None), strict=True)
    regions = [
        _Region(first, last, *both) for first, last, both in zip(firsts, lasts, sides, strict=True)
    ]
    numbered = enumerate(lines)
    number, line = next(numbered, (count, ""))
    for region in regions:
        since, characters = region.first, 0
        while number < region.last:
            if number >= region.first and not line.isspace():
                region.blank = False
                if LICENCE.search(line):
                    if region.licence is None:
                        region.licence = number
                    if characters >= TEXT_CHARACTERS:
                        region.texts.append((since, number))
                    since, characters = number + 1, 0
                else:
                    characters += len(line)
            number, line = next(numbered, (count, ""))
        if characters >= TEXT_CHARACTERS:
            region.texts.append((since, region.last))
    return regions


def _kept(region: _Region, framed: bool, ended: bool) -> tuple[list[tuple[int, int]], bool]:
    """The parts of a region that are kept, and whether that is in doubt. `framed`: the file has a
    line that opens a frame; `ended`: one that closes it."""
    left, right = (side.kind if side else None for side in (region.left, region.right))
    whole = [(region.first, region.last)]
    if region.blank:
        return [], False
    if left in (None, START) and right != START:
        return whole, False
    if left == START and region.licence != region.first:  # another header follows, but no end
        own = region.last if region.licence is None else region.licence
        return [(region.first, own), *(part for part in region.texts if part[0] >= own)], False
    if left == BOOK_END and right in (END, BOOK_END):  # another book in the same frame
        return whole, not framed
    if region.licence is None and (
        right in (END, BOOK_END)
        or (right is None and not (framed and left == END))
        or (left is None and not ended)
    ):
        return whole, True
    return region.texts, True


def text_lines(
    read: Callable[[], Iterable[str]], spec: CorpusSpec, name: str, notes: Notes
) -> Kept:
    """What `find_text` keeps, cut to `corpus.start` and `end`; doubts go to `notes`.

    The text starts with the first line that begins like `start`, and ends before the first one
    after it that begins like `end`. Raises FolioError if one of them is declared and not found.
    """
    kept = find_text(read)
    notes.doubts += [f"{name}:{line + 1} {text[:60]!r}" for line, text in kept.doubts]
    if not (spec.start or spec.end):
        return kept
    first = kept.parts[0][0] if kept.parts else 0
    start, end = composed(spec.start or ""), composed(spec.end or "")
    begun = ended = None
    for number, line in enumerate(map(composed, read())):
        if start and begun is None:
            inside = any(first <= number < last for first, last in kept.parts)
            begun = number if inside and line.startswith(start) else None
        # The mark may be a line of the frame, so search beyond the text as well.
        elif end and (start or number >= first) and line.startswith(end):
            ended = number
            break
    for key, mark, found in (("start", spec.start, begun), ("end", spec.end, ended)):
        if mark and found is None:
            raise FolioError(
                f"{name}: corpus.{key}: no line begins with {mark!r}; fix it in the declaration"
            )
    clipped = [
        (max(first, begun or 0), last if ended is None else min(last, ended))
        for first, last in kept.parts
    ]
    return replace(kept, parts=[(first, last) for first, last in clipped if first < last])


def body(text: str, spec: CorpusSpec, name: str, notes: Notes) -> str:
    """The text without what `text_lines` leaves out, and without empty lines around it."""
    kept = text_lines(lambda: _lines(text), spec, name, notes)
    lines, at, texts = _lines(text), 0, list[str]()
    for first, last in kept.parts:
        deque(islice(lines, first - at), 0)
        texts.append("".join(islice(lines, last - first)))
        at = last
    if len(texts) > 1:  # apart by an empty line
        inner = [each.strip("\n") for each in texts[1:-1]]
        texts = [texts[0].rstrip("\n"), *filter(None, inner), texts[-1].lstrip("\n")]
    whole = "\n\n".join(texts)
    whole = whole.lstrip("\n") if kept.opened and not spec.start else whole
    whole = whole.rstrip("\n") + "\n" if kept.closed and not spec.end else whole
    note_cut(len(text) - len(whole), spec, notes)
    return whole


def note_cut(characters: int, spec: CorpusSpec, notes: Notes) -> None:
    if characters > 0:
        marks = "outside corpus.start, corpus.end and" if spec.start or spec.end else "of"
        notes.ignored[f"characters {marks} licence frames"] += characters


def _lines(text: str) -> Iterator[str]:
    """The lines with their ends, one at a time: a list of them would need more memory than the
    text."""
    at = 0
    while at < len(text):
        stop = text.find("\n", at) + 1 or len(text)
        yield text[at:stop]
        at = stop
