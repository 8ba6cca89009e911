"""The n-gram model against the formula written out slowly, and as a probability distribution."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.counting import kneser_ney
from pipelines.counting.arrays import read_array
from pipelines.counting.kneser_ney import estimated, train_text
from pipelines.counting.ngrams import NGrams, Sequences
from pipelines.errors import DamagedError
from tests.conftest import MIRROR, artifact_in, needs_mirror

SIZE = 7  # ids; the last is never seen in training


def sequences(*texts: list[int]) -> Sequences:
    return Sequences(np.concatenate(texts), np.concatenate([np.arange(len(t)) for t in texts]))


def some_texts(seed: int, *lengths: int) -> list[list[int]]:
    random = np.random.default_rng(seed)
    return [(random.integers(0, SIZE - 1, n) * random.integers(0, 2, n)).tolist() for n in lengths]


class Slow:
    """Modified Kneser-Ney as Chen and Goodman write it, one recursive formula over dictionaries."""

    def __init__(self, texts: list[list[int]], order: int) -> None:
        places = [(text, end) for text in texts for end in range(1, len(text) + 1)]
        self.counts: dict[int, Counter[tuple[int, ...]]] = {
            order: Counter(tuple(text[end - order : end]) for text, end in places if end >= order)
        }
        for n in range(1, order):
            extended = {tuple(text[end - n - 1 : end]) for text, end in places if end > n}
            opening = Counter(tuple(text[:n]) for text in texts if len(text) >= n)
            self.counts[n] = Counter(string[1:] for string in extended) + opening
        self.discounts = {
            n: kneser_ney._discounts(np.array(list(counts.values())))
            for n, counts in self.counts.items()
        }

    def probability(self, context: tuple[int, ...], token: int) -> float:
        n = len(context) + 1
        lower = self.probability(context[1:], token) if context else 1 / SIZE
        if n not in self.counts:
            return lower
        after = {w: self.counts[n][(*context, w)] for w in range(SIZE)}
        total = sum(after.values())
        if not total:
            return lower
        discount = {w: self.discounts[n][min(c, 3)] for w, c in after.items()}
        return ((after[token] - discount[token]) + sum(discount.values()) * lower) / total


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_same_as_the_formula(order: int) -> None:
    train, test = some_texts(1, 60, 3, 1, 40), some_texts(2, 25, 1, 8)
    model, slow = estimated(sequences(*train), order, SIZE), Slow(train, order)
    probability, guess = model.score(sequences(*test))
    wanted, best = [], []
    for text in test:
        for i, token in enumerate(text):
            context = tuple(text[max(0, i - order + 1) : i])
            wanted.append(slow.probability(context, token))
            best.append(max(slow.probability(context, w) for w in range(SIZE)))
            assert slow.probability(context, guess[len(best) - 1]) == pytest.approx(best[-1])
    np.testing.assert_allclose(probability, wanted, rtol=1e-5)


@pytest.mark.parametrize("order", [1, 4])
def test_probabilities_sum_to_one_over_the_vocabulary(order: int) -> None:
    model = estimated(sequences(*some_texts(3, 200, 50)), order, SIZE)
    for context in ([], [0], [1, 2], [0, 0, 0], [6, 6, 6], [2, 0, 1, 4, 0]):
        probability, _ = model.score(sequences(*([*context, w] for w in range(SIZE))))
        after = probability.reshape(SIZE, -1)[:, -1]
        assert after.min() > 0
        assert after.sum() == pytest.approx(1, abs=1e-6)


def test_discounts_by_hand() -> None:
    """Seen once 4, twice 2, three times 1, four times 1: Y is a half."""
    counts = np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])
    np.testing.assert_allclose(kneser_ney._discounts(counts), [0, 0.5, 1.25, 1.0])
    np.testing.assert_allclose(kneser_ney._discounts(np.array([7, 8])), [0, 0.5, 1.0, 1.5])


def test_texts_shorter_than_the_order() -> None:
    model = estimated(sequences([0, 1], [0, 1], [2]), 6, SIZE)
    probability, guess = model.score(sequences([0, 1, 0, 1, 5]))
    assert guess[1] == 1 and probability[1] > 0.4
    assert probability[4] > 0


def test_context_ends_where_a_text_begins() -> None:
    """0 is always followed by 1, but never across the border of two texts."""
    model = estimated(sequences(*[[0, 1, 2]] * 5), 2, SIZE)
    within, across = sequences([0, 1]), sequences([0], [1])
    assert model.score(within)[0][1] > 2 * model.score(across)[0][1]


@pytest.mark.parametrize("order", [1, 2, 4, 9])
def test_the_next_token_has_the_probability_that_scoring_gives_it(order: int) -> None:
    model = estimated(sequences(*some_texts(6, 200, 1, 30)), order, SIZE)
    text = sequences(*some_texts(7, 40, 1, 12), [6, 6, 0, 6])
    probability, guess = model.score(text)
    later = np.flatnonzero(text.before)
    after = model.after(text, later - 1)
    assert after.shape == (len(later), SIZE)
    np.testing.assert_allclose(after.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(
        after[np.arange(len(later)), text.ids[later]], probability[later], rtol=1e-5
    )
    np.testing.assert_allclose(
        after.max(axis=1), after[np.arange(len(later)), guess[later]], rtol=1e-6
    )


@pytest.mark.parametrize("order", [1, 3])
def test_what_was_written_is_read_again(tmp_path: Path, order: int) -> None:
    model = estimated(sequences(*some_texts(8, 100, 20)), order, SIZE)
    model.write(tmp_path)
    again = NGrams.read(tmp_path, SIZE)
    assert len(again.grams) == len(model.grams) == order
    for one, other in zip(again.grams, model.grams, strict=True):
        for name in ("keys", "probability", "rest", "best"):
            assert (getattr(one, name) == getattr(other, name)).all(), name


def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    model = estimated(sequences(*some_texts(8, 100, 20)), 3, SIZE)

    def refused(name: str, change: Callable[[np.ndarray], np.ndarray]) -> str:
        model.write(tmp_path)
        path = tmp_path / f"{name}.npy"
        np.save(path, change(np.load(path)))
        with pytest.raises(DamagedError) as error:
            NGrams.read(tmp_path, SIZE)
        return str(error.value)

    for name in ("tokens", "sizes", "probability", "rest", "best"):
        assert "not the n-grams" in refused(name, lambda array: array[:-1])
        assert "not the n-grams" in refused(name, lambda array: array[:0])
        assert "not an array of" in refused(name, lambda array: array.astype(np.int64))
        assert "not an array of" in refused(name, lambda array: array[:, None])
        assert "not an array" in refused(name, lambda array: array.astype(object))
    assert "not the n-grams" in refused("tokens", lambda array: array + SIZE)
    assert "not the n-grams" in refused("tokens", lambda array: array[::-1])
    assert "not the n-grams" in refused("probability", lambda array: array * np.nan)
    assert "not the n-grams" in refused("rest", lambda array: array + 2)
    assert "not the n-grams" in refused("sizes", lambda array: array[::-1])
    model.write(tmp_path)
    with pytest.raises(DamagedError):
        NGrams.read(tmp_path, SIZE - 2)  # of another vocabulary


def test_a_header_that_claims_more_than_the_file_has_allocates_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    for claimed in (10**6, 10**15):
        with path.open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (claimed,)}
            np.lib.format.write_array_header_1_0(file, header)
            file.write(bytes(100))
        with pytest.raises(DamagedError, match="not an array"):
            read_array(path, "float32")
    for junk in (b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00\x04\x00(((("):
        path.write_bytes(junk)
        with pytest.raises(DamagedError, match="not an array"):
            read_array(path, "float32")


def test_train_tokens_are_read_up_to_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokens").mkdir()
    for shard, rows in enumerate(([[1, 2, 3], [4, 5]], [[6, 1, 2, 3]], [[5, 5]])):
        pq.write_table(
            pa.table(
                {"tokens": pa.array(rows, pa.list_(pa.uint16())), "length": list(map(len, rows))}
            ),
            tmp_path / "tokens" / f"train-{shard:04}.parquet",
        )
    tokens = artifact_in(tmp_path)
    joined = train_text(tokens, joined=True)
    assert joined.ids.tolist() == [1, 2, 3, 4, 5, 6, 1, 2, 3, 5, 5]
    assert joined.before.tolist() == list(range(11))
    apart = train_text(tokens, joined=False)
    assert apart.before.tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 3, 0, 1]
    monkeypatch.setattr(kneser_ney, "MOST_TOKENS", 7)
    cut = train_text(tokens, joined=False)
    assert cut.ids.tolist() == [1, 2, 3, 4, 5, 6, 1]
    assert cut.before.tolist() == [0, 1, 2, 0, 1, 0, 1]


@needs_mirror
def test_shakespeare_as_docs_say() -> None:
    """docs/metrics.md: characters, the last tenth held out, 5-grams."""
    text = (MIRROR / "shakespeare.txt").read_text(encoding="utf-8")
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    ids = np.searchsorted(np.unique(points), points)
    cut = len(ids) * 9 // 10
    model = estimated(sequences(ids[:cut]), 5, 65)
    probability, _ = model.score(sequences(ids[cut:]))
    assert -np.log(probability).mean() == pytest.approx(1.561, abs=0.002)
