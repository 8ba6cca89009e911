"""The comparison of two models: no difference where there is none, one where there is."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.declaration.spec import RegistrySpec
from pipelines.registry.figures import Figures
from pipelines.release.evidence import classifier_evidence, text_evidence
from pipelines.release.gate import judge

CLASSIFIER = ("accuracy", "log_loss", "roc_auc")
TEXT = ("bits_per_character", "nats_per_character", "perplexity")
OLD = Figures(dict.fromkeys((*CLASSIFIER, *TEXT), 0.5), version=1)


def predictions(skill: float, count: int, seed: int, labels: int = 0) -> pa.Table:
    """A model that is right with about that share; `labels` seeds what is true."""
    label = np.random.default_rng(labels).integers(0, 2, count).astype(np.float32)
    random = np.random.default_rng(seed)
    sure = random.uniform(0.5, 1, count)
    right = random.random(count) < skill
    probability = np.where(right == (label > 0.5), sure, 1 - sure)
    nats = -np.log(np.where(label > 0.5, probability, 1 - probability))
    return pa.table(
        {
            "id": [str(i) for i in range(count)],
            "label": label,
            "nats": nats,
            "probability": probability,
            "correct": (probability > 0.5) == (label > 0.5),
        }
    )


def segments(nats: float, count: int, seed: int, tokens: int = 100) -> pa.Table:
    """A model that spends so many nats a character, on easy and hard segments that last."""
    hard = np.cumsum(np.random.default_rng(7).normal(size=count)) / 20
    noise = np.random.default_rng(seed).normal(scale=0.02, size=count)
    characters = np.random.default_rng(8).integers(90, 130, count).astype(np.float64)
    return pa.table(
        {
            "characters": characters,
            "tokens": np.full(count, tokens),
            "nats": characters * (nats + hard + noise),
        }
    )


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(CLASSIFIER), st.floats(0.05, 0.95), st.integers(5, 400), st.integers(0, 99))
def test_the_same_answers_are_inconclusive(
    metric: str, skill: float, count: int, seed: int
) -> None:
    same = predictions(skill, count, seed)
    if metric == "roc_auc" and len(set(same["label"].to_pylist())) < 2:
        return
    found = classifier_evidence(same, same, metric, 0.95)
    assert found.low <= 0 <= found.high and found.effect == 0
    assert found.mcnemar == {"only_champion": 0, "only_challenger": 0, "p": 1.0}
    decided = judge(Figures({metric: 0.5}), OLD, RegistrySpec(metric=metric), found)
    assert decided.verdict == "inconclusive"


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(TEXT), st.floats(0.5, 3), st.integers(3, 300), st.integers(0, 99))
def test_the_same_text_as_likely_is_inconclusive(
    metric: str, nats: float, count: int, seed: int
) -> None:
    same = segments(nats, count, seed)
    found = text_evidence(same, same, metric, 0.95)
    assert found.low <= 0 <= found.high and found.effect == 0 and found.metric == metric
    decided = judge(Figures({metric: 0.5}), OLD, RegistrySpec(metric=metric), found)
    assert decided.verdict == "inconclusive"


@pytest.mark.parametrize("metric", CLASSIFIER)
def test_the_better_classifier_wins_and_the_worse_one_loses(metric: str) -> None:
    good, bad = predictions(0.85, 3000, 1), predictions(0.75, 3000, 2)
    better, worse = (
        classifier_evidence(*pair, metric, 0.95) for pair in ((bad, good), (good, bad))
    )
    assert better.gain.low > 0 > worse.gain.high
    assert better.effect == pytest.approx(-worse.effect)
    assert better.low < better.effect < better.high
    assert (
        better.mcnemar["p"] < 1e-6
        and better.mcnemar["only_challenger"] > (better.mcnemar["only_champion"])
    )
    assert set(better.others) == set(CLASSIFIER) - {metric}


def test_figures_of_both_are_those_of_their_tables() -> None:
    old, new = predictions(0.8, 500, 1), predictions(0.8, 500, 2)
    found = classifier_evidence(old, new, "accuracy", 0.9)
    assert found.champion == np.mean(old["correct"]) and found.challenger == np.mean(new["correct"])
    effect = np.mean(new["nats"].to_numpy() - old["nats"].to_numpy())
    assert found.others["log_loss"]["effect"] == pytest.approx(effect)
    wider = classifier_evidence(old, new, "accuracy", 0.99)
    assert wider.low < found.low < found.high < wider.high


@pytest.mark.slow
def test_equally_good_models_are_mostly_inconclusive() -> None:
    found = [
        classifier_evidence(
            predictions(0.8, 800, seed), predictions(0.8, 800, 500 + seed), "accuracy", 0.95
        )
        for seed in range(60)
    ]
    assert sum(one.low <= 0 <= one.high for one in found) >= 52


def test_one_class_alone_has_no_ranking() -> None:
    table = predictions(0.8, 50, 1).set_column(1, "label", [np.ones(50, np.float32)])
    found = classifier_evidence(table, table, "accuracy", 0.95)
    assert set(found.others) == {"log_loss"}


@pytest.mark.parametrize("metric", TEXT)
def test_the_better_language_model_wins(metric: str) -> None:
    worse, better = segments(1.52, 500, 1), segments(1.50, 500, 2)
    found = text_evidence(worse, better, metric, 0.95)
    assert found.gain.low > 0 and found.high < 0 and found.low < found.effect < found.high
    sums = [
        (
            np.sum(t["nats"].to_numpy()),
            np.sum(t["characters"].to_numpy()),
            np.sum(t["tokens"].to_numpy()),
        )
        for t in (worse, better)
    ]
    figure = {
        "nats_per_character": lambda n, c, t: n / c,
        "perplexity": lambda n, c, t: math.exp(n / t),
        "bits_per_character": lambda n, c, t: n / c / math.log(2),
    }[metric]
    assert (found.champion, found.challenger) == pytest.approx([figure(*one) for one in sums])
    assert (
        judge(Figures({metric: 1.5}), OLD, RegistrySpec(metric=metric), found).verdict == "promote"
    )


def test_perplexity_of_other_tokens_is_not_compared() -> None:
    found = text_evidence(
        segments(1.5, 300, 1, tokens=100), segments(1.4, 300, 2, tokens=40), "perplexity", 0.95
    )
    assert found.metric == "nats_per_character" and found.gain.low > 0


def test_what_both_find_hard_does_not_blur_the_difference() -> None:
    """The text's own ups and downs are thirty times the difference, but they are in both."""
    old, new = segments(1.51, 500, 1), segments(1.5, 500, 2)
    found = text_evidence(old, new, "nats_per_character", 0.95)
    spread = np.std(old["nats"].to_numpy() / old["characters"].to_numpy())
    assert found.high - found.low < 0.01 < spread / 10
    assert found.block <= 3  # what is left of the difference has no memory
