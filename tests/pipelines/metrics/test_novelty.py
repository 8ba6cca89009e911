"""What is new and what is varied in a text, by hand and against the figures measured before."""

from __future__ import annotations

import pytest

from pipelines.metrics.novelty import (
    compare,
    side_by_side,
    split_units,
    stretches,
    trimmed,
    unit_of,
    without_cut_words,
    without_last_word,
)
from tests.conftest import MIRROR, needs_mirror

TRAIN = ["The cat sat on the mat.", "A dog sat on the cat's mat"]


def share(count: int, of: int) -> dict:
    return {"count": count, "of": of, "share": count / of if of else None}


def test_figures_by_hand() -> None:
    found = compare({"some": ["the cat sat on the rug", "sat on THE"]}, TRAIN, "words")["some"]
    assert found["known"] == share(8, 9)  # rug is not
    assert found["new_3"] == share(1, 5)  # on the rug
    assert found["new_4"] == share(1, 3)
    # Characters as they stand: "The cat sat", "the cat's" and so on of train.
    assert found["new_string"]["of"] == 13 + 1
    assert found["new_string"]["count"] == sum(
        string not in text
        for string in (
            "the cat sa",
            "he cat sat",
            "e cat sat ",
            " cat sat o",
            "cat sat on",
            "at sat on ",
            "t sat on t",
            " sat on th",
            "sat on the",
            "at on the ",
            "t on the r",
            " on the ru",
            "on the rug",
            "sat on THE",
        )
        for text in [" | ".join(TRAIN)]
    )
    assert found["distinct_1"] == share(5, 9)
    assert found["distinct_2"] == share(5, 7)
    assert found["distinct_3"] == share(4, 5)


def test_strings_do_not_cross_pieces_or_documents() -> None:
    """`mat a dog` is in no single document of train, `dog cat` in no single piece."""
    found = compare({"some": ["mat a dog", "cat"]}, TRAIN, "words")["some"]
    assert found["new_3"] == share(1, 1)
    assert found["distinct_2"] == share(2, 2)


def test_words_and_characters() -> None:
    assert unit_of("Plain words, with blanks.") == "words"
    assert unit_of("これは日本語の文です。\n次の文には空白がない。") == "characters"
    assert split_units("Don't stop, it’s 9 o'clock_x", "words") == [
        "don't",
        "stop",
        "it’s",
        "o'clock",
        "x",
    ]
    assert split_units("春 の\nＡb", "characters") == ["春", "の", "ａ", "b"]
    japanese = compare({"some": ["春の夜の夢"]}, ["春の夜"], "characters")["some"]
    assert japanese["known"] == share(4, 5)
    assert japanese["new_3"] == share(2, 3)


def test_words_cut_in_two_are_left_out() -> None:
    assert without_cut_words("ing to the win", "words") == " to the "
    assert without_cut_words(", to the winter.", "words") == ", to the winter."
    assert without_last_word("Who goes the", "words") == "Who goes "
    assert without_cut_words("春の夜の", "characters") == "春の夜の"


def test_stretches_are_spread_over_the_text() -> None:
    text = " ".join(f"w{'abcdefghij'[i // 10]}{'abcdefghij'[i % 10]}" for i in range(100))
    pieces = stretches(text, 3, 23, "words")
    assert pieces[0].split() == ["wab", "wac", "wad", "wae"]  # the first may be cut in two
    assert pieces[2].split()[-1] == "wji"
    assert "wf" in pieces[1]
    assert stretches("short text", 3, 23, "words") == ["short text"]


def test_trimmed_to_a_number_of_words() -> None:
    pieces = ["one two.", " three, four five", "six"]
    assert trimmed(pieces, 4, "words") == ["one two.", " three, four"]
    assert trimmed(pieces, 2, "words") == ["one two."]
    assert trimmed(pieces, 9, "words") == pieces


def test_all_texts_have_the_same_length() -> None:
    found = side_by_side(
        {
            "0.5": ["a dog sat", "the dog"],
            "1": ["", "!"],
            "held_out": ["the cat sat on the mat that was a mat"],
        },
        TRAIN,
        "words",
    )
    assert found["unit"] == "words" and found["units"] == 5
    assert list(found["texts"]) == ["0.5", "held_out"]  # the text without a word is left out
    assert {figures["known"]["of"] for figures in found["texts"].values()} == {5}
    assert found["train_characters"] == sum(map(len, TRAIN))
    assert side_by_side({"1": ["?"]}, TRAIN, "words") is None


@needs_mirror
def test_shakespeare_as_measured_before() -> None:
    """The last tenth against the rest: the figures that generated text should be read against."""
    text = (MIRROR / "shakespeare.txt").read_text(encoding="utf-8")
    cut = int(0.9 * len(text))
    texts = {"all": [text[cut:]], "10,000": trimmed([text[cut:]], 10_000, "words")}
    found = compare(texts, [text[:cut]], unit_of(text))
    whole, part = (
        {key: value["share"] for key, value in figures.items()}
        for figures in (found["all"], found["10,000"])
    )
    assert whole["known"] == pytest.approx(0.943, abs=5e-4)
    assert whole["new_3"] == pytest.approx(0.883, abs=5e-4)
    assert whole["new_4"] == pytest.approx(0.987, abs=5e-4)
    assert whole["new_string"] == pytest.approx(0.749, abs=5e-4)
    assert [part[f"distinct_{n}"] for n in (1, 2, 3)] == pytest.approx(
        [0.202, 0.768, 0.968], abs=5e-4
    )
