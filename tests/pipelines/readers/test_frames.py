"""Licence frames of Project Gutenberg. The licences below are shortened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers import frames
from pipelines.readers.documents import Notes

START = "*** START OF THIS PROJECT GUTENBERG EBOOK A TALE ***"
END = "*** END OF THIS PROJECT GUTENBERG EBOOK A TALE ***"


def read(text: str, start: str | None = None, end: str | None = None) -> tuple[str, Notes]:
    notes = Notes()
    spec = CorpusSpec(reader="text", split="contiguous", start=start, end=end)
    return frames.body(text, spec, "x", notes), notes


def body(text: str, start: str | None, end: str | None, name: str) -> str:
    return read(text, start, end)[0]


@pytest.mark.parametrize(
    ("opening", "closing"),
    [
        (START, END),
        (START.replace("THIS", "THE"), END.replace("THIS", "THE")),
        ("***START OF THE PROJECT GUTENBERG EBOOK A TALE***", "End of the Project Gutenberg EBook"),
        (
            "*** START OF THIS PROJECT GUTENBERG EBOOK A VERY\nLONG TALE ***",
            f"End of Project Gutenberg's A Tale\n\n{END}",
        ),
    ],
)
def test_the_licence_frame_is_removed(opening: str, closing: str) -> None:
    text = f"Licence\n{opening}\n\n\nA tale.\n\n***\n\nIts end.\n\n\n{closing}\nMore licence\n"
    assert body(text, None, None, "x") == "A tale.\n\n***\n\nIts end.\n"


def test_text_without_a_frame_is_left_alone() -> None:
    text = "\n\n  The end of the Project Gutenberg was near.\n\n"
    assert body(text, None, None, "x") == text


def test_start_and_end() -> None:
    text = f"THE TALE\n{START}\nby me\nTHE TALE\none\nTHE END\ntwo\n{END}\nTHE LICENCE\n"
    assert body(text, "THE TALE", "THE END", "x") == "THE TALE\none\n"
    assert body(text, "THE TALE", None, "x") == "THE TALE\none\nTHE END\ntwo\n"
    assert body(text, None, "THE T", "x") == "by me\n"
    assert body(text, "THE TALE", "THE LICENCE", "x") == "THE TALE\none\nTHE END\ntwo\n"
    assert body(text, "THE TALE", "*** END", "x") == "THE TALE\none\nTHE END\ntwo\n"
    with pytest.raises(FolioError, match=r"x: corpus\.start: no line begins with 'THE LICENCE'"):
        body(text, "THE LICENCE", None, "x")
    with pytest.raises(FolioError, match=r"corpus\.end: no line begins with 'THE TALE'"):
        body(text, "THE TALE", "THE TALE", "x")


STORY = "The keeper walked home by the grey sea, and nobody saw him under the clouds.\n"
ONE, TWO = "ONE BEGINS\n" + 3 * STORY + "ONE ENDS\n", "TWO BEGINS\n" + 3 * STORY + "TWO ENDS\n"
LONG = 40 * STORY  # beyond what a header or a licence has without saying what it is
LICENCE = "Updated editions of this Project Gutenberg eBook will replace the previous one.\n"
BOOK_END = "End of the Project Gutenberg EBook of {}, by A. Writer\n"
SMALL_PRINT = (
    "**The Project Gutenberg Etext of A Tale**\n\nPlease take a look at the important information "
    "in this header.\n\n***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\nWhy is this"
    ' "Small Print!" statement here? You know: lawyers.\n'
    "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n"
)


@pytest.mark.parametrize(
    "opening",
    [
        "*** START OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK A TALE ***",
        "   *** START OF THIS PROJECT GUTENBERG EBOOK A TALE ***",
        "***  START  OF\N{NO-BREAK SPACE}THIS PROJECT  GUTENBERG EBOOK A TALE ***",
        "*** Start of the Project Gutenberg eBook of A Tale ***",
        "*** START OF THE PROJECT GUTENBERG EBOOK A TALE\nTHAT HAS A TITLE OVER\nTHREE LINES ***",
        "*** START OF THE PROJECT GUTENBERG EBOOK, A TALE",
        "*** BEGINN DES PROJEKT GUTENBERG EBOOKS EIN MÄRCHEN ***",
        "*** DÉBUT DU PROJET GUTENBERG EBOOK UN CONTE ***",
        "*END THE SMALL PRINT! FOR PUBLIC DOMAIN EBOOKS*Ver.02/11/02*END*",
        "*END*THE SMALL PRINT! FOR COMPLEX COPYRIGHTED ETEXTS*Ver.07.02.92*END*",
        SMALL_PRINT.rstrip(),
    ],
)
@pytest.mark.parametrize(
    "closing",
    [
        END,
        END.title(),
        f"    {END}",
        "***END  OF THE PROJECT\N{NO-BREAK SPACE}GUTENBERG EBOOK A TALE***",
        "*** END OF THE COPYRIGHTED PROJECT GUTENBERG EBOOK A TALE ***",
        "*** ENDE DES PROJEKT GUTENBERG EBOOKS EIN MÄRCHEN ***",
        "END OF PROJECT GUTENBERG'S A TALE",
        "End of The Project Gutenberg Etext of A Tale",
        "Ende dieses Projekt Gutenberg Etextes",
        "Fin du Projet Gutenberg EBook",
        "End of the Project Gutenberg EBook of A Tale That Has a Very Long Title\n"
        f"and a Writer\n\n{END}",
    ],
)
def test_forms_of_the_frame(opening: str, closing: str) -> None:
    text = f"The Project Gutenberg EBook of A Tale\n\n{opening}\n\n{ONE}\n\n{closing}\n\n{LICENCE}"
    found, notes = read(text)
    assert found == ONE
    assert notes.ignored == {"characters of licence frames": len(text) - len(ONE)}
    assert notes.doubts == []


def test_several_framed_texts_in_one_file() -> None:
    both = "".join(
        f"Header {name}\n\n{START}\n\n{text}\n{END}\n\n{LICENCE}"
        for name, text in (("1", ONE), ("2", TWO), ("3", ONE))
    )
    assert read(both)[0] == f"{ONE}\n{TWO}\n{ONE}"
    old = "".join(f"{SMALL_PRINT}\n{text}\n{BOOK_END.format('X')}\n" for text in (ONE, TWO))
    assert read(old)[0] == f"{ONE}\n{TWO}"
    without_ends = f"{START}\n{ONE}\n{SMALL_PRINT}\n{TWO}"
    assert read(without_ends)[0] == f"{ONE}\n{TWO}"


def test_several_books_in_one_frame() -> None:
    books = f"{ONE}\n{BOOK_END.format('One')}\n{TWO}\n{BOOK_END.format('Two')}"
    assert read(f"{START}\n\n{books}\n{END}\n{LICENCE}")[0] == f"{ONE}\n{TWO}"
    text, notes = read(f"{START}\n\n{books}\n{LONG}")  # nothing says what the rest is
    assert text == f"{ONE}\n{TWO}\n{LONG}"
    assert len(notes.doubts) == 1 and notes.doubts[0].startswith("x:17 'End of the Project")


@pytest.mark.parametrize("line", [START, END, BOOK_END.format("X").rstrip()])
@pytest.mark.parametrize(("before", "after"), [(ONE, TWO), (LONG, ONE), (ONE, LONG), (LONG, LONG)])
def test_such_a_line_by_chance(line: str, before: str, after: str) -> None:
    text = f"{before}\n{line}\n{after}"
    found, notes = read(text)
    assert found == text and not notes.ignored
    assert len(notes.doubts) == 1 and f"x:{before.count(chr(10)) + 2} " in notes.doubts[0]


def test_text_beside_a_frame_is_kept_and_named() -> None:
    text, notes = read(f"{LONG}\nHeader\n{START}\n{ONE}\n{END}\n{LICENCE}\n{LONG}")
    assert text == f"{LONG}\nHeader\n\n{ONE}\n{LONG}"
    assert [doubt.split(" ")[0] for doubt in notes.doubts] == ["x:43", "x:50"]


def test_marks_are_found_however_their_letters_were_typed() -> None:
    text = "before\nDe\u0301but\none\nFin\u00e9\nafter\n"
    assert read(text, "D\u00e9but", "Fine\u0301")[0] == "De\u0301but\none\n"


def test_a_header_without_its_last_line_is_named() -> None:
    header = "The Project Gutenberg EBook of A Tale\n\nTitle: A Tale\n\n"
    text, notes = read(f"{header}{ONE}")
    assert text == header + ONE and len(notes.doubts) == 1
    text, notes = read(f"{header}{ONE}\n{END}\n{LICENCE}")
    assert text == header + ONE and len(notes.doubts) == 1


@given(st.lists(st.sampled_from([START, END, BOOK_END, LICENCE, "", ONE, LONG]), max_size=8))
def test_no_long_text_is_lost(pieces: list[str]) -> None:
    text = "\n".join(pieces)
    found, notes = read(text)
    assert found.count(LONG) == text.count(LONG)
    removed = notes.ignored["characters of licence frames"]
    assert len(found) == len(text) - removed or (removed == 0 and len(found) >= len(text))
    assert read(found)[0].count(LONG) == found.count(LONG)
