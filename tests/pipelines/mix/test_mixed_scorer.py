"""Every layout of the batches, and a network with random weights: each token's probability is that
of the network alone and that of the n-grams, which end where a text does."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.counting.kneser_ney import estimated
from pipelines.counting.ngrams import Sequences
from pipelines.declaration.model_sections import ModelSpec
from pipelines.mix.mixed_network import MixedNetwork
from pipelines.mix.mixed_scorer import MixedScorer, scorer_of
from pipelines.mix.mixtures import LanguageMixture
from pipelines.model.backend import load_keras
from pipelines.model.network import build_model
from pipelines.model.scoring import Scorer
from pipelines.release.rescoring import InMemoryBatches

pytestmark = pytest.mark.slow
SIZE, ORDER, WEIGHT, WINDOW = 9, 4, 0.3, 5


def texts(seed: int, *lengths: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [(random.integers(1, SIZE, n) * random.integers(0, 2, n)) for n in lengths]


def text_of(parts: list[np.ndarray]) -> Sequences:
    before = [np.arange(len(part)) for part in parts]
    return Sequences(np.concatenate(parts), np.concatenate(before))


NGRAMS = estimated(text_of(texts(1, 300, 40)), ORDER, SIZE)
HELD_OUT = texts(2, 600, 3, 30, 2, 17)  # the first is read in several slices where it is a lane


@pytest.mark.parametrize("stateful", [False, True])
@pytest.mark.parametrize("layout", ["documents", "lanes", "windows"])
def test_each_token_has_the_mixed_probability(
    layout: str, stateful: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_keras("tensorflow")
    spec = ModelSpec(
        kind="language_model", cell="lstm", embedding=5, units=(6, 3), stateful=stateful
    )
    model = build_model(spec, SIZE, seed=3)
    network = MixedNetwork(model, LanguageMixture(WEIGHT, NGRAMS))
    names = [str(i) for i in range(len(HELD_OUT))]
    batches = InMemoryBatches(names, HELD_OUT, 0, 2, layout, WINDOW)
    monkeypatch.setattr("pipelines.model.scoring.LOGITS_AT_ONCE", 2 * 64 * SIZE)
    scorer = scorer_of(network, spec)
    assert isinstance(scorer, MixedScorer) and type(scorer_of(model, spec)) is Scorer
    mixed, own = (
        np.concatenate([one.nats[one.batch.real] for one in each.batches(batches)])
        for each in (scorer, Scorer(model, spec))
    )
    if layout == "windows":
        rows = [
            text[at : at + WINDOW + 1]
            for text in HELD_OUT
            for at in range(max(len(text) - WINDOW, 0))
        ]
        counted = NGRAMS.score(text_of(rows))[0][WINDOW :: WINDOW + 1]
    elif layout == "lanes":
        counted = NGRAMS.score(text_of([np.concatenate(HELD_OUT)]))[0][1:]
    else:
        whole = text_of(HELD_OUT)
        counted = NGRAMS.score(whole)[0][whole.before > 0]
    expected = -np.log((1 - WEIGHT) * np.exp(-own) + WEIGHT * counted)
    np.testing.assert_allclose(mixed, expected, rtol=1e-4)
