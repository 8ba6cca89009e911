"""The n-gram model against the formula written out slowly, and as a probability distribution."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.metrics import ngrams
from pipelines.metrics.ngrams import NGrams, Sequences
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
            n: ngrams._discounts(np.array(list(counts.values())))
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
    model, slow = NGrams(sequences(*train), order, SIZE), Slow(train, order)
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
    model = NGrams(sequences(*some_texts(3, 200, 50)), order, SIZE)
    for context in ([], [0], [1, 2], [0, 0, 0], [6, 6, 6], [2, 0, 1, 4, 0]):
        probability, _ = model.score(sequences(*([*context, w] for w in range(SIZE))))
        after = probability.reshape(SIZE, -1)[:, -1]
        assert after.min() > 0
        assert after.sum() == pytest.approx(1, abs=1e-6)


def test_discounts_by_hand() -> None:
    """Seen once 4, twice 2, three times 1, four times 1: Y is a half."""
    counts = np.array([1, 1, 1, 1, 2, 2, 3, 4, 9])
    np.testing.assert_allclose(ngrams._discounts(counts), [0, 0.5, 1.25, 1.0])
    np.testing.assert_allclose(ngrams._discounts(np.array([7, 8])), [0, 0.5, 1.0, 1.5])


def test_texts_shorter_than_the_order() -> None:
    model = NGrams(sequences([0, 1], [0, 1], [2]), 6, SIZE)
    probability, guess = model.score(sequences([0, 1, 0, 1, 5]))
    assert guess[1] == 1 and probability[1] > 0.4
    assert probability[4] > 0


def test_context_ends_where_a_text_begins() -> None:
    """0 is always followed by 1, but never across the border of two texts."""
    model = NGrams(sequences(*[[0, 1, 2]] * 5), 2, SIZE)
    within, across = sequences([0, 1]), sequences([0], [1])
    assert model.score(within)[0][1] > 2 * model.score(across)[0][1]


def test_only_predicted_tokens_count() -> None:
    train, text = sequences(*some_texts(4, 300)), sequences(*some_texts(5, 30))
    predicted = np.arange(30) % 3 == 1
    found = ngrams.baselines(train, text, predicted, 3, SIZE)
    assert list(found) == ["unigram", "3-gram"]
    for order, (nats, correct) in zip((1, 3), found.values(), strict=True):
        probability, guess = NGrams(train, order, SIZE).score(text)
        np.testing.assert_allclose(nats, -np.log(probability[1::3]))
        assert correct.tolist() == (guess == text.ids)[1::3].tolist()
    assert list(ngrams.baselines(train, text, predicted, 1, SIZE)) == ["unigram"]


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
    joined = Sequences.of_train(tokens, joined=True)
    assert joined.ids.tolist() == [1, 2, 3, 4, 5, 6, 1, 2, 3, 5, 5]
    assert joined.before.tolist() == list(range(11))
    apart = Sequences.of_train(tokens, joined=False)
    assert apart.before.tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 3, 0, 1]
    monkeypatch.setattr(ngrams, "MOST_TOKENS", 7)
    cut = Sequences.of_train(tokens, joined=False)
    assert cut.ids.tolist() == [1, 2, 3, 4, 5, 6, 1]
    assert cut.before.tolist() == [0, 1, 2, 0, 1, 0, 1]


@needs_mirror
def test_shakespeare_as_docs_say() -> None:
    """docs/metrics.md: characters, the last tenth held out, 5-grams."""
    text = (MIRROR / "shakespeare.txt").read_text(encoding="utf-8")
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    ids = np.searchsorted(np.unique(points), points)
    cut = len(ids) * 9 // 10
    model = NGrams(sequences(ids[:cut]), 5, 65)
    probability, _ = model.score(sequences(ids[cut:]))
    assert -np.log(probability).mean() == pytest.approx(1.561, abs=0.002)
