"""The measures of drift against figures worked out elsewhere, and on tiny real texts."""

from __future__ import annotations

import csv
import math
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.release.drift import from_champion
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.stats.two_samples import ALARM, chi_square, kolmogorov_smirnov, stability_index
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, REVIEWS, artifact_of

COUNTS = st.lists(st.integers(0, 500), min_size=2, max_size=30).map(np.array).filter(np.any)


def test_stability_index() -> None:
    old, new = np.array([50, 50]), np.array([80, 20])
    by_hand = 0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5)
    assert stability_index(old, new) == pytest.approx(by_hand) and by_hand > ALARM
    assert stability_index(old, old * 7) == 0  # the amount of text is no drift
    # Nothing against a little is finite, and no alarm.
    assert 0 < stability_index(np.array([0, 1000]), np.array([20, 980])) < ALARM


@settings(deadline=None)  # the first example imports SciPy
@given(COUNTS, COUNTS)
def test_both_measures_are_none_alone_where_nothing_differs(
    old: np.ndarray, new: np.ndarray
) -> None:
    size = min(len(old), len(new))
    if old[:size].any() and new[:size].any():
        assert stability_index(old[:size], new[:size]) >= 0
    gap, p = kolmogorov_smirnov(old, new)
    assert 0 <= gap <= 1 + 1e-9 and 0 <= p <= 1
    assert kolmogorov_smirnov(old, old) == (0, 1)
    assert kolmogorov_smirnov(new, old)[0] == pytest.approx(gap)


def test_kolmogorov_smirnov_counts_by_value() -> None:
    first, second = np.random.default_rng(1).poisson((20, 23), (300, 2)).T
    values = np.arange(60)
    gap = max(abs((first <= value).mean() - (second <= value).mean()) for value in values)
    found, p = kolmogorov_smirnov(np.bincount(first), np.bincount(second))
    assert found == pytest.approx(gap)
    scaled = found * (math.sqrt(150) + 0.12 + 0.11 / math.sqrt(150))
    series = [(-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 40)]
    assert p == pytest.approx(2 * sum(series), abs=1e-12)
    # Stephens: 1.358 is Kolmogorov's 5% point.
    root = math.sqrt(300 * 300 / 600)
    gap = 1.358 / (root + 0.12 + 0.11 / root)
    low, high = np.zeros(2), np.array([300, 0])
    low[:] = 300 * (1 - gap), 300 * gap
    assert kolmogorov_smirnov(low, high)[1] == pytest.approx(0.05, abs=1e-3)
    assert p < 1e-4


def test_chi_square() -> None:
    statistic, p = chi_square(np.array([10, 20]), np.array([20, 10]))
    assert statistic == pytest.approx(20 / 3) and p == pytest.approx(0.0098, abs=1e-4)
    assert p == pytest.approx(math.erfc(math.sqrt(10 / 3)), abs=1e-12)
    # 3.841 is the 5% point for one degree of freedom.
    assert math.erfc(math.sqrt(3.841 / 2)) == pytest.approx(0.05, abs=1e-4)
    assert chi_square(np.array([0, 20]), np.array([0, 10])) == (0.0, 1.0)


@pytest.fixture
def home(trained: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(trained.home, tmp_path / "home")
    return Settings.at(tmp_path / "home")


def retrained(home: Settings, folder: Path, change) -> tuple[dict, list[str]]:
    """The record of the reviews' data stages after `change(row)` of every review; the notices."""
    with (PROJECT / "data" / "samples" / "reviews.csv").open(encoding="utf-8", newline="") as file:
        rows = [change(row) for row in csv.DictReader(file)]
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    declared = folder / "tiny-reviews.yaml"
    declared.write_text("name: tiny-reviews\n" + REVIEWS.format(samples=folder))
    said: list[str] = []
    record = retrain_plain(
        str(declared), settings=home, selection=Selection.of(until="tokens"), notice=said.append
    )
    return record, said


def test_the_same_text_is_not_measured(home: Settings, reviews: Path) -> None:
    record = retrain_plain(
        str(reviews),
        settings=home,
        selection=Selection.of(until="tokens"),
        notice=lambda text: None,
    )
    assert record["drift"] == {"version": 1, "same_text": True, "measures": [], "drifted": []}


def test_more_of_the_same_has_not_drifted(home: Settings, tmp_path: Path) -> None:
    """The order of the words, and so every text, is another; the kind of text is not."""
    record, said = retrained(
        home, tmp_path, lambda row: row | {"review": " ".join(reversed(row["review"].split()))}
    )
    found = record["drift"]
    assert not found["same_text"] and found["drifted"] == []
    assert [one["measure"] for one in found["measures"]] == [
        "median length (tokens)",
        "share of unknown tokens",
        "share of label 1",
    ]
    for one in found["measures"]:
        assert 0 <= one["index"] < ALARM and 0 <= one["p"] <= 1
    assert not [line for line in said if "drifted" in line]
    again = retrain_plain(
        str(tmp_path / "tiny-reviews.yaml"),
        settings=home,
        selection=Selection.of(until="tokens"),
        notice=said.append,
    )
    assert again["state"] == "nothing-to-do" and again["drift"] is None  # it was told once


def test_other_lengths_words_and_labels_have(home: Settings, tmp_path: Path) -> None:
    def other(row: dict[str, str]) -> dict[str, str]:
        words = row["review"].split()
        label = "negative" if hash_of(row["review"]) % 5 else "positive"
        return {"review": " ".join(f"{word}x" for word in words * 3), "sentiment": label}

    record, said = retrained(home, tmp_path, other)
    found = {one["measure"]: one for one in record["drift"]["measures"]}
    assert record["drift"]["drifted"] == list(found)
    length, unknown, label = found.values()
    assert length["new"] == pytest.approx(3 * length["old"], rel=0.2) and length["p"] < 1e-6
    assert unknown["old"] < 0.1 and unknown["new"] > 0.8 and unknown["p"] < 1e-6
    assert label["new"] < 0.3 < label["old"] and label["p"] < 1e-3
    assert said[-1].startswith(
        "tiny-reviews: the text has drifted from what version 1 was trained on: median length"
    )


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def test_where_there_is_nothing_to_compare_with(home: Settings) -> None:
    corpus, tokens = (artifact_of(home, "tiny-reviews", stage) for stage in ("corpus", "tokens"))
    compared = partial(from_champion, home.home, home.store)
    assert compared("tiny-reviews", False, corpus, tokens)["same_text"]
    assert compared("new", False, corpus, tokens) is None
    assert compared("tiny-reviews", True, corpus, tokens) is None
    # A running text is one document and has no labels; its characters are measured.
    mine = artifact_of(home, "tiny-play", "corpus"), artifact_of(home, "tiny-play", "tokens")
    assert compared("tiny-play", False, corpus, tokens)["measures"] == []  # words are no characters
    shutil.rmtree(mine[1].path)
    assert compared("tiny-play", False, *mine) is None


def test_a_registry_that_cannot_be_read_hinders_no_run(home: Settings, reviews: Path) -> None:
    (home.home / "mlflow" / "mlflow.db").write_bytes(b"no database" * 100)
    said: list[str] = []
    record = retrain_plain(
        str(reviews), settings=home, selection=Selection.of(until="tokens"), notice=said.append
    )
    assert record["state"] == "nothing-to-do" and record["drift"] is None
    assert "the text could not be compared with the champion's" in said[-1]
