"""Linear models of word n-grams against what can be counted by hand, and their files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.counting.linear import FEATURES, Linear, seen_grams
from pipelines.counting.linear_training import Documents, nb_svm
from pipelines.errors import DamagedError


def grams(*texts: str) -> Documents:
    hashed = seen_grams(texts)
    return Documents([str(i) for i in range(len(texts))], hashed, np.array([True, False]))


def test_n_grams_of_words_and_signs_are_seen_once_each() -> None:
    found = grams("Good, good film! It's", "").grams
    expected = ["good", ",", "film", "!", "it's", "good ,", ", good", "good film", "film !"]
    expected += ["! it's", "good , good", ", good film", "good film !", "film ! it's"]
    assert found.shape == (2, FEATURES) and found.nnz == found.sum() == len(expected)
    assert set(found.indices) == {grams_index(text) for text in expected}


def grams_index(text: str) -> int:
    """The column of an n-gram, by scikit-learn's hash."""
    from sklearn.utils import murmurhash3_32

    return abs(murmurhash3_32(text)) % FEATURES


def test_nb_svm_reads_the_log_ratio_of_counts() -> None:
    """By hand: `good`, `bad` and their pairs are in one class only, with a log ratio of 2 to 1, and
    have the same trained weight. The ratio of `film`, which is in both, is 0."""
    models = nb_svm(grams("good film", "bad film"))
    trained, mostly_mean = models[0].weights, models[-1].weights
    good, bad, film, unseen = map(grams_index, ("good", "bad", "film", "unseen"))
    for weights in (trained, mostly_mean):
        assert weights[good] > 0 and weights[good] == pytest.approx(-weights[bad], rel=1e-3)
        assert weights[good] == pytest.approx(weights[grams_index("good film")], rel=1e-3)
        assert weights[film] == weights[unseen] == 0
    assert mostly_mean[good] == pytest.approx(trained[good] * (0.25 + 0.75 * 4 / 5), rel=1e-3)


def test_what_was_written_gives_the_same_logits(tmp_path: Path) -> None:
    given = grams("a good film!", "a bad film?")
    model = nb_svm(given)[1]
    model.write(tmp_path)
    again = Linear.read(tmp_path, model.intercept)
    np.testing.assert_allclose(again.logit(given.grams), model.logit(given.grams), rtol=1e-6)
    assert (tmp_path / "weights.npy").stat().st_size < 1000  # only what was seen


def write(folder: Path, columns: list[int], weights: list[float], squares: list[float]) -> None:
    np.save(folder / "columns.npy", np.array(columns, np.int32))
    np.save(folder / "weights.npy", np.array(weights, np.float32))
    np.save(folder / "squares.npy", np.array(squares, np.float32))


@pytest.mark.parametrize(
    ("columns", "weights", "squares"),
    [
        ([1, 1], [0.5, 0.5], [1, 1]),
        ([2, 1], [0.5, 0.5], [1, 1]),
        ([-1], [0.5], [1]),
        ([FEATURES], [0.5], [1]),
        ([1, 2], [0.5], [1, 1]),
        ([1], [np.nan], [1]),
        ([1], [0.5], [1, 1]),
        ([1], [0.5], [np.inf]),
        ([1], [0.5], [-1]),
    ],
)
def test_weights_that_do_not_belong_together_are_refused(
    tmp_path: Path, columns: list[int], weights: list[float], squares: list[float]
) -> None:
    write(tmp_path, columns, weights, squares)
    with pytest.raises(DamagedError):
        Linear.read(tmp_path, 0.0)


def test_documents_are_scaled_to_length_1_if_the_package_says_so(tmp_path: Path) -> None:
    """Packages of older versions have no squares."""
    good, bad = grams_index("good"), grams_index("bad")
    write(tmp_path, sorted([good, bad]), [0.5, 0.5], [4, 4])
    given = seen_grams(["good", "good bad", "film", ""])
    scaled = Linear.read(tmp_path, 0.1).logit(given)
    np.testing.assert_allclose(scaled, [0.1 + 0.5 / 2, 0.1 + 1 / 8**0.5, 0.1, 0.1], rtol=1e-6)
    (tmp_path / "squares.npy").unlink()
    alone = Linear.read(tmp_path, 0.1, scaled=False).logit(given)
    np.testing.assert_allclose(alone, [0.6, 1.1, 0.1, 0.1], rtol=1e-6)
