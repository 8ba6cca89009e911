"""Near-duplicates by sketches, against sets of strings compared one by one."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.corpus.near_duplicates import ALIKE, Index, Pair
from pipelines.corpus.sketches import LENGTH, in_characters, sketched
from tests.pipelines.corpus.test_stage import BOOK, Built, table


def found(test: Sequence[str], others: Sequence[str], at_once: int = 3) -> dict[int, Pair]:
    batches = [
        [
            (np.arange(first, len(texts))[:at_once], pa.array(texts[first : first + at_once]))
            for first in range(0, len(texts), at_once)
        ]
        for texts in (test, others)
    ]
    characters = bool(test) and in_characters(batches[0][0][1])
    sketches = [sketched(texts, characters) for _, texts in batches[0]]
    index = Index.of([numbers for numbers, _ in batches[0]], sketches)
    pairs = [
        Pair(int(document), int(test), float(share))
        for batch in batches[1]
        for document, test, share in zip(*index.pairs(*batch, characters), strict=True)
    ]
    return {pair.document: pair for pair in pairs}


def strings(text: str, characters: bool = False) -> set[tuple[str, ...]]:
    lower = text.lower()
    parts = re.sub("[ \n]", "", lower) if characters else re.split("[ \n]+", lower)
    parts = [part for part in parts if part]
    if 0 < len(parts) < LENGTH:
        parts += [""] * (LENGTH - len(parts))
    return {tuple(parts[i : i + LENGTH]) for i in range(len(parts) - LENGTH + 1)}


def alike(one: str, other: str, characters: bool = False) -> float:
    a, b = strings(one, characters), strings(other, characters)
    return len(a & b) / len(a | b) if a | b else 0.0


WORD = st.sampled_from(["good", "bad", "film", "the", "a", "and", "plot"])
# Two words or more: a first batch without a single blank is taken for text that has none.
TEXT = st.just("") | st.lists(WORD, min_size=2, max_size=40).map(" ".join)


@settings(max_examples=80, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=8), st.lists(TEXT, max_size=8))
def test_what_is_found_is_alike_and_what_is_alike_is_found(
    test: list[str], others: list[str]
) -> None:
    pairs = found(test, others)
    for number, text in enumerate(others):
        best = max(alike(text, other) for other in test)
        if number in pairs:
            pair = pairs[number]
            assert pair.similarity == pytest.approx(alike(text, test[pair.test]))
            assert ALIKE <= pair.similarity <= best + 1e-9
        else:
            assert best < 0.9


def changed(text: str, words: int, seed: int) -> str:
    parts, chance = text.split(), random.Random(seed)
    for place in chance.sample(range(len(parts)), words):
        parts[place] = f"new{place}"
    return " ".join(parts)


def essay(words: int, seed: int) -> str:
    chance = random.Random(seed)
    return " ".join(f"w{chance.randrange(5000)}" for _ in range(words))


@pytest.mark.parametrize("words", [60, 300, 4000])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.05])
def test_a_few_changed_words_hide_nothing(words: int, share: float) -> None:
    test = [essay(words, seed) for seed in range(30)]
    others = [changed(text, int(words * share), seed) for seed, text in enumerate(test)]
    pairs = found(test, [*others, *(essay(words, 100 + seed) for seed in range(30))])
    assert sorted(pairs) == list(range(30))
    for number, pair in pairs.items():
        assert pair.test == number
        assert pair.similarity == pytest.approx(alike(others[number], test[number]), abs=0.17)


def test_case_and_line_breaks_do_not_matter() -> None:
    text = "It was the best of times,\n\nit was the worst of times"
    pairs = found([text], [text.upper().replace("\n\n", "  "), text + " and so on and on and on"])
    assert pairs[0].similarity == 1 and 0.5 < pairs[1].similarity < 1


def test_text_without_blanks_is_compared_by_characters() -> None:
    text = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
    near = text.replace("まだ", "未だ")
    pairs = found([text, "ああ" * 20], [near, "全く別の文章がここにあります。何も共通しません。"])
    assert list(pairs) == [0] and pairs[0].test == 0
    assert pairs[0].similarity == pytest.approx(alike(near, text, characters=True))


def test_empty_and_wordless_texts_are_like_nothing() -> None:
    assert found(["", " \n "], ["", " ", "word"]) == {}
    assert found([], ["word"]) == {} and found(["word"], []) == {}
    assert found(["Ay."], ["ay.", "No."]) == {0: Pair(0, 0, 1.0)}


def test_a_phrase_that_all_have_makes_nothing_alike() -> None:
    phrase = "once upon a time there was a king who had three sons "
    test = [phrase + essay(80, seed) for seed in range(200)]
    assert found(test, [phrase + essay(80, 999)], at_once=50) == {}
    assert list(found([*test, phrase], [phrase], at_once=50)) == [0]


ROWS = [(essay(60, seed), ("negative", "positive")[seed % 2]) for seed in range(60)]
SPLIT = BOOK | {"reader": "csv", "split": "hash", "validation": 0.2, "test": 0.3}


def twins(folder: Path, **settings: object) -> Built:
    """Texts of which each has a twin with one other word; the hash puts some twins elsewhere."""
    rows = [row for text, label in ROWS for row in ((text, label), (changed(text, 1, 1), label))]
    return Built(folder, {"reviews.csv": table(rows)}, **SPLIT, **settings)


def test_the_corpus_counts_them(tmp_path: Path) -> None:
    built = twins(tmp_path)
    listed = pl.read_parquet(built.out / "near_duplicates.parquet")
    splits = dict(built.documents.select("id", "split").iter_rows())
    number = {name: int(name.rpartition(":")[2]) for name in splits}
    first = min(number.values())
    expected = {
        a
        for a, b in pairwise(sorted(number, key=number.get))
        for a, b in ((a, b), (b, a))
        if (number[a] - first) // 2 == (number[b] - first) // 2 and splits[a] != "test" == splits[b]
    }
    assert set(listed["id"]) == expected and len(expected) > 10
    assert all(splits[one] == "test" for one in listed["test_id"])
    counts = built.counts["near_duplicates"]
    assert counts == dict(listed["split"].value_counts().iter_rows())
    assert built.counts["kept"] == 120 and listed["similarity"].min() > ALIKE


def test_drop_sets_them_aside(tmp_path: Path) -> None:
    kept, dropped = twins(tmp_path / "kept"), twins(tmp_path / "dropped", duplicates="drop")
    listed = pl.read_parquet(dropped.out / "near_duplicates.parquet")
    assert listed.equals(pl.read_parquet(kept.out / "near_duplicates.parquet"))
    gone = dropped.quarantine.filter(pl.col("reason") == "near-duplicate-of-test")
    assert (
        set(gone["id"])
        == set(listed["id"])
        == set(kept.documents["id"]) - set(dropped.documents["id"])
    )
    assert dropped.counts["reasons"] == {"near-duplicate-of-test": len(listed)}
    assert dropped.column("id", "test") == kept.column("id", "test")
    assert dropped.counts["near_duplicates"] == kept.counts["near_duplicates"]
