from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.corpus.division.listing import Categories, Entries, Listing, shared
from pipelines.readers.cleaning import text_digest

NAMES = st.lists(st.sampled_from([None, "", "one", "two", "three"]), max_size=30)


@given(NAMES, st.integers(0, 30))
def test_names_come_back(names: list[str | None], cut: int) -> None:
    found = Categories.none(len(names))
    found.fill(0, pa.array(names[:cut], pa.string()))
    found.fill(len(names[:cut]), pa.array(names[cut:], pa.string()))
    assert found.values() == names
    assert found.arrow(2, 9).to_pylist() == names[2:9]
    assert dict(found.counts()) == {name: names.count(name) for name in names if name is not None}
    for name in ("one", "", "never"):
        assert (name in found) == (name in names)
        assert found.where(name).tolist() == [i for i, one in enumerate(names) if one == name]


@given(NAMES)
def test_a_copy_is_another(names: list[str | None]) -> None:
    found = Categories.none(len(names))
    found.fill(0, pa.array(names, pa.string()))
    other = found.copy()
    other.put(np.ones(len(names), bool), "new")
    assert found.values() == names
    assert other.values() == ["new"] * len(names)


@given(st.lists(st.integers(0, 12)))
def test_shared_are_the_numbers_that_come_twice(numbers: list[int]) -> None:
    wanted = [i for i, number in enumerate(numbers) if numbers.count(number) > 1]
    assert shared(np.array(numbers, np.uint64)).tolist() == wanted


def test_a_document_costs_some_40_bytes() -> None:
    entries = Entries()
    for number in range(1000):
        text = f"a text of some words, number {number}"
        entries.add(len(text), text_digest(text), number % 2, f"group {number % 7}", "train")
    found = entries.listing()
    categories = (found.groups, found.parts, found.reasons)
    arrays = [found.characters, found.digests, found.labels, *(one.codes for one in categories)]
    assert sum(array.nbytes for array in arrays) <= 40 * len(found)


def test_parts_are_entered_one_after_another() -> None:
    parts = []
    for part in ("train", "test"):
        entries = Entries()
        entries.add(3, text_digest("one"), 1.0, "film", part)
        entries.add(0, None, None, None, part, "empty")
        parts.append(entries)
    found = Listing.of_size(4)
    found.fill(0, parts[0].frame())
    found.fill(2, parts[1].frame())
    assert found.characters.tolist() == [3, 0, 3, 0]
    np.testing.assert_array_equal(found.labels, np.array([1, np.nan, 1, np.nan], np.float32))
    assert found.groups.values() == ["film", None, "film", None]
    assert found.parts.values() == ["train", "train", "test", "test"]
    assert found.usable().tolist() == [True, False, True, False]
    assert found.repeated().tolist() == [0, 2]
    assert list(found.digests_of(np.array([2, 0]))) == [text_digest("one")] * 2
