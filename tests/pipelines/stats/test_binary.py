from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.stats.binary import calibration_error, per_class, reliability_bins, wilson


def test_wilson_against_published_values() -> None:
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)


@settings(deadline=None)  # the first example imports SciPy
@given(st.integers(1, 50_000), st.floats(0, 1))
def test_wilson_by_its_formula(total: int, share: float) -> None:
    hits, z = round(share * total), NormalDist().inv_cdf(0.975)
    middle = (hits + z * z / 2) / (total + z * z)
    half = z * math.sqrt(hits * (total - hits) / total + z * z / 4) / (total + z * z)
    expected = max(middle - half, 0.0), min(middle + half, 1.0)
    assert wilson(hits, total) == pytest.approx(expected, abs=1e-12)


def test_reliability_bins_and_their_error() -> None:
    probability = np.array([0.0, 0.05, 0.25, 0.25, 0.25, 0.25, 1.0])
    label = np.array([0, 0, 1, 1, 0, 0, 1], np.float32)
    bins = reliability_bins(label, probability)
    assert [(row["from"], row["documents"]) for row in bins] == [(0.0, 2), (0.2, 4), (0.9, 1)]
    assert [row["observed"] for row in bins] == [0.0, 0.5, 1.0]
    assert [row["predicted"] for row in bins] == pytest.approx([0.025, 0.25, 1.0])
    assert calibration_error(bins) == pytest.approx((2 * 0.025 + 4 * 0.25 + 0) / 7)


def test_precision_and_recall_of_both_classes() -> None:
    negative, positive = per_class(
        {"true_positive": 6, "false_positive": 2, "true_negative": 3, "false_negative": 4}
    )
    assert positive == pytest.approx({"precision": 6 / 8, "recall": 6 / 10, "f1": 12 / 18})
    assert negative == pytest.approx({"precision": 3 / 7, "recall": 3 / 5, "f1": 6 / 12})


def test_nothing_said_of_a_class_has_no_precision() -> None:
    negative, positive = per_class(
        {"true_positive": 0, "false_positive": 0, "true_negative": 5, "false_negative": 1}
    )
    assert positive == {"precision": None, "recall": 0.0, "f1": 0.0}
    assert negative["recall"] == 1.0
