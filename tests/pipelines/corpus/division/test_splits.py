from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.corpus.division.carving import carve
from pipelines.corpus.division.listing import Entries, Listing
from pipelines.corpus.division.splits import Assignment, assign_splits
from pipelines.declaration.data_sections import SPLITS, WITHIN_TRAIN
from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.cleaning import text_digest


def listing(
    texts: list[str],
    groups: list[str | None] | None = None,
    parts: list[str | None] | None = None,
    labels: list[float] | None = None,
) -> Listing:
    return entries(texts, groups, parts, labels).listing()


def entries(
    texts: list[str],
    groups: list[str | None] | None = None,
    parts: list[str | None] | None = None,
    labels: list[float] | None = None,
) -> Entries:
    n = len(texts)
    found = Entries()
    for row in zip(
        texts,
        labels or [float(i % 2) for i in range(n)],
        groups or [None] * n,
        parts or [None] * n,
        strict=True,
    ):
        found.add(len(row[0]), text_digest(row[0]), *row[1:])
    return found


def split(found: Listing, seed: int = 3, **settings: Any) -> Assignment:
    readers = dict.fromkeys(("official", *WITHIN_TRAIN), "labelled-folders")
    reader = (readers | {"contiguous": "files"}).get(settings["split"], "csv")
    return assign_splits(found, CorpusSpec(reader=reader, **settings), seed)


TEXTS = [f"text {i}" for i in range(400)]


def test_official_keeps_test_and_carves_whole_groups() -> None:
    parts = ["train"] * 300 + ["test"] * 100
    groups = [f"film {i // 7}" for i in range(400)]
    assignment = split(listing(TEXTS, groups, parts), split="official", validation=61)
    assert assignment.fates.values()[300:] == ["test"] * 100
    count = Counter(assignment.fates.values())
    assert abs(count["validation"] - 61) <= 3
    validation = {
        g for g, f in zip(groups, assignment.fates.values(), strict=True) if f == "validation"
    }
    train = {g for g, f in zip(groups, assignment.fates.values(), strict=True) if f == "train"}
    assert not validation & train


def test_carve_is_balanced_when_the_groups_are_not() -> None:
    labels = [float(i % 20 < 5) for i in range(400)]  # groups of five with one label each
    found = listing(TEXTS, [f"film {i // 5}" for i in range(400)], labels=labels)
    for seed in range(8):
        taken = carve(np.arange(400), found, 100, seed)
        assert (len(taken), sum(labels[i] for i in taken)) == (100, 25)


def test_carve_takes_what_is_nearest() -> None:
    found = listing(TEXTS[:20], [f"film {i // 10}" for i in range(20)])
    assert len(carve(np.arange(20), found, 6, seed=1)) == 10
    assert len(carve(np.arange(20), found, 4, seed=1)) == 0
    assert len(carve(np.arange(20), found, 13, seed=1)) == 10


def test_official_repeats() -> None:
    texts = ["a", "b", "a", "c", "c", "d", "e", "f", "b", "c"]
    parts = ["train", "train", "train", "test", "test", "train", "train", "train", "train", "train"]
    fates = split(listing(texts, parts=parts), split="official", validation=1).fates.values()
    assert fates[2] == fates[8] == "duplicate"
    assert fates[9] == "duplicate-of-test"
    assert fates[3] == fates[4] == "test"
    assert Counter(fates)["validation"] == 1


@pytest.mark.parametrize("method", WITHIN_TRAIN)
def test_within_train_divides_the_train_part_alone(method: str) -> None:
    parts = ["train"] * 300 + ["test"] * 100
    texts = [*TEXTS[:299], TEXTS[350], *TEXTS[300:]]
    texts[10] = texts[9]
    assignment = split(listing(texts, parts=parts), split=method, validation=0.1, test=0.2)
    alone = split(listing(texts[:299]), split="hash", validation=0.1, test=0.2)
    assert assignment.fates.values()[:299] == alone.fates.values() and set(
        alone.fates.values()
    ) > set(SPLITS)
    assert assignment.fates.values()[299] == "duplicate-of-test"
    assert assignment.fates.values()[300:] == ["official test"] * 100
    assert assignment.reasons == Counter({"duplicate": 1, "duplicate-of-test": 1})


def test_hash_is_stable_when_others_come_and_go() -> None:
    before = dict(
        zip(
            TEXTS,
            split(listing(TEXTS), split="hash", validation=0.1, test=0.2).fates.values(),
            strict=True,
        )
    )
    fewer = TEXTS[::-3]
    after = split(listing(fewer), split="hash", validation=0.1, test=0.2).fates.values()
    assert after == [before[text] for text in fewer]
    count = Counter(before.values())
    assert 15 < count["validation"] < 65 and 50 < count["test"] < 110
    other = split(listing(TEXTS), seed=4, split="hash", validation=0.1, test=0.2).fates.values()
    assert other != list(before.values())


def test_hash_by_group_and_by_counts() -> None:
    groups = [f"author {i % 40}" for i in range(400)]
    fates = split(listing(TEXTS, groups), split="hash", validation=40, test=80).fates.values()
    where: dict[str, set[str]] = {}
    for group, fate in zip(groups, fates, strict=True):
        where.setdefault(group, set()).add(fate)
    assert all(len(splits) == 1 for splits in where.values())
    assert set(fates) == set(SPLITS)


def test_repeats_of_unsplit_text_keep_the_one_in_test() -> None:
    groups = [f"author {i}" for i in range(300)]  # so that equal texts fall into several splits
    texts = [f"text {i % 100}" for i in range(300)]
    alone = split(
        listing(TEXTS[:300], groups), split="hash", validation=0.3, test=0.3
    ).fates.values()
    fates = split(listing(texts, groups), split="hash", validation=0.3, test=0.3).fates.values()
    for text in range(100):
        copies = [text, text + 100, text + 200]
        kept = [i for i in copies if fates[i] in SPLITS]
        in_test = [i for i in copies if alone[i] == "test"]
        assert kept == [(in_test or copies)[0]]
        for i in set(copies) - set(kept):
            leaks = bool(in_test) and alone[i] != "test"
            assert fates[i] == ("duplicate-of-test" if leaks else "duplicate")


def test_shuffled_gives_exact_counts() -> None:
    texts = TEXTS + TEXTS[:20]
    fates = split(listing(texts), split="shuffled", validation=50, test=200).fates.values()
    assert Counter(fates) == {"train": 150, "validation": 50, "test": 200, "duplicate": 20}
    assert fates[400:] == ["duplicate"] * 20
    assert (
        fates
        != split(listing(texts), seed=4, split="shuffled", validation=50, test=200).fates.values()
    )


def test_shuffled_keeps_groups_whole() -> None:
    groups = [f"film {i // 8}" for i in range(400)]
    fates = split(listing(TEXTS, groups), split="shuffled", validation=40, test=80).fates.values()
    assert Counter(fates) == {"train": 280, "validation": 40, "test": 80}
    assert all(len(set(fates[i : i + 8])) == 1 for i in range(0, 400, 8))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.data())
def test_contiguous_pieces_tile_the_text(lengths: list[int], data: st.DataObject) -> None:
    total = sum(lengths)
    if total < 3:
        return
    validation = data.draw(st.integers(1, total - 2))
    test = data.draw(st.integers(1, total - 1 - validation))
    found = listing([f"{i:03d}" for i in range(len(lengths))])
    found.characters = np.array(lengths)
    assignment = split(found, split="contiguous", validation=validation, test=test)
    order = []
    for index, length in enumerate(lengths):
        pieces = assignment.cuts.get(index) or [(assignment.fates.values()[index], 0, length)]
        for name, start, stop in pieces:
            order += [name] * (stop - start)
        assert [pieces[0][1], pieces[-1][2]] == [0, length]
    assert order == (
        ["train"] * (total - validation - test) + ["validation"] * validation + ["test"] * test
    )


@given(st.lists(st.integers(1, 40), min_size=6, max_size=30))
def test_contiguous_documents_stay_whole_and_in_order(lengths: list[int]) -> None:
    found = listing([f"{i:03d}" for i in range(len(lengths))])
    found.characters = np.array(lengths)
    share = max(lengths) / sum(lengths)  # enough that each part gets a document
    if 3 * share >= 1:
        return
    assignment = assign_splits(
        found, CorpusSpec(reader="lines", split="contiguous", validation=share, test=share), seed=3
    )
    assert not assignment.cuts
    assert assignment.fates.values() == sorted(assignment.fates.values(), key=SPLITS.index)
    for part in ("validation", "test"):
        held = sum(
            n for n, fate in zip(lengths, assignment.fates.values(), strict=True) if fate == part
        )
        assert abs(held - max(lengths)) <= max(lengths)


@given(st.lists(st.integers(0, 12)))
def test_repeated_finds_what_equal_texts_share(numbers: list[int]) -> None:
    found = entries([f"text {number}" for number in numbers])
    found.add(3, None, reason="empty")
    found.add(3, None, reason="empty")
    count = Counter(numbers)
    repeated = found.listing().repeated().tolist()
    assert repeated == [i for i, number in enumerate(numbers) if count[number] > 1]
    assert len(found) == len(numbers) + 2


@pytest.mark.parametrize(
    "settings",
    [
        {"split": "shuffled", "validation": 0.5, "test": 0.5},
        {"split": "shuffled", "test": 10},
        {"split": "shuffled", "validation": 0.01},
        {"split": "hash", "validation": 8, "test": 8},
        {"split": "hash", "validation": 0.0001},
        {"split": "official", "validation": 10},
        {"split": "contiguous", "validation": 0.001},
        {"split": "contiguous", "test": 60},
        {"split": "contiguous", "validation": 30, "test": 30},
    ],
)
def test_too_little_for_the_wanted_parts(settings: dict) -> None:
    found = listing(TEXTS[:10], parts=["train"] * 9 + ["test"])
    with pytest.raises(FolioError, match=r"corpus\.") as caught:
        split(found, **settings)
    assert "\n" not in str(caught.value)
