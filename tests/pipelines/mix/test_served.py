"""What is served is what was measured: predictions, next tokens, generated text, packages."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipelines.counting.linear import seen_grams
from pipelines.counting.ngrams import Sequences
from pipelines.errors import DamagedError, FolioError
from pipelines.mix.mixed_network import MixedNetwork
from pipelines.mix.mixtures import ClassifierMixture, LanguageMixture, read_mixture
from pipelines.model.sampling import sample
from pipelines.release.rescoring import rescored
from pipelines.serving import predictor as inference
from pipelines.serving.mlflow_model import _load_pyfunc
from pipelines.serving.package import Package
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.conftest import artifact_of, held_out
from tests.pipelines.mix.mixed_home import PLAY_NAME, REVIEWS_NAME, metrics_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def reviews(mixed: Settings) -> Predictor:
    return Predictor.load(load_champion(mixed.home, REVIEWS_NAME))


@pytest.fixture(scope="module")
def play(mixed: Settings) -> Predictor:
    return Predictor.load(load_champion(mixed.home, PLAY_NAME))


def test_a_served_probability_is_the_measured_one(mixed: Settings, reviews: Predictor) -> None:
    folder = artifact_of(mixed, REVIEWS_NAME, "metrics").path
    measured = pq.read_table(folder / "predictions.parquet").to_pydict()
    documents = artifact_of(mixed, REVIEWS_NAME, "corpus").table("documents/test-", ["id", "text"])
    rows = reviews.predict(documents["text"].to_pylist())
    served = dict(zip(documents["id"].to_pylist(), rows, strict=True))
    for name, value in zip(measured["id"], measured["probability"], strict=True):
        assert served[name]["positive_probability"] == pytest.approx(value, abs=1e-5)
    frame = pd.DataFrame({"text": documents["text"].to_pylist()})
    answered = _load_pyfunc(str(load_champion(mixed.home, REVIEWS_NAME))).predict(frame)
    assert answered["positive_probability"].tolist() == [
        row["positive_probability"] for row in rows
    ]


def test_both_parts_decide_and_counting_reads_the_whole_text(
    mixed: Settings, reviews: Predictor
) -> None:
    """The network reads the first 40 words alone."""
    mixture = reviews.mixture
    assert isinstance(mixture, ClassifierMixture) and min(mixture.factors) > 0
    start = "the film was seen by some people last week and " * 5
    good, bad = (
        reviews.predict([f"{start} {end}"])[0]["positive_probability"]
        for end in ("wonderful, great, excellent, I loved it", "awful, boring, bad, the worst")
    )
    assert good > bad
    text = held_out(mixed, REVIEWS_NAME)[0]
    counted = mixture.counted([text])
    chance = reviews.predict([text])[0]["positive_probability"]
    logit = np.log(chance / (1 - chance)) * reviews.calibration.temperature
    own = (logit - mixture.factors[1] * counted[0]) / mixture.factors[0]
    alone = Predictor.load(load_champion(mixed.home, REVIEWS_NAME))
    alone.mixture, alone.calibration = None, type(alone.calibration)()
    network = alone.predict([text])[0]["positive_probability"]
    assert 1 / (1 + np.exp(-own)) == pytest.approx(network, abs=1e-4)


def test_a_served_model_scores_a_text_as_it_was_measured(mixed: Settings) -> None:
    """By which champion and challenger are compared on a new text."""
    for name, file in ((REVIEWS_NAME, "predictions.parquet"), (PLAY_NAME, "segments.parquet")):
        before = pq.read_table(artifact_of(mixed, name, "metrics").path / file).to_pydict()
        corpus = artifact_of(mixed, name, "corpus")
        after = rescored(load_champion(mixed.home, name), corpus, 16).to_pydict()
        assert after["id"] == before["id"]
        assert after["nats"] == pytest.approx(before["nats"], rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("length", [1, 2, 7, 600])
def test_next_tokens_are_mixed(
    mixed: Settings, play: Predictor, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    """From the network alone and from the n-grams alone; of a start of one token, of fewer than the
    n-grams read, and of more than are read at once."""
    mixture = play.mixture
    assert isinstance(mixture, LanguageMixture) and 0.1 < mixture.weight < 0.9
    text = "\n".join(held_out(mixed, PLAY_NAME))[100 : 100 + length]
    ids = play.vocabulary.encode(text)
    after = Sequences(ids, np.arange(len(ids)))
    counted = mixture.counting.after(after, np.array([len(ids) - 1]))[0]
    served = play._read(ids)
    assert np.exp(served).sum() == pytest.approx(1, abs=1e-4)
    monkeypatch.setattr(play, "network", play.model)
    logits = play._read(ids).astype(np.float64)
    own = np.exp(logits - logits.max())
    own /= own.sum()
    np.testing.assert_allclose(
        np.exp(served), (1 - mixture.weight) * own + mixture.weight * counted, rtol=1e-3, atol=1e-6
    )


def test_generated_text_follows_the_mixed_probabilities(
    mixed: Settings, play: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for made in metrics_of(mixed, PLAY_NAME)["samples"]:
        given = made["temperature"], made["seed"]
        (row,) = play.generate([made["start"]], 30, *given)
        assert row["text"] == made["text"]
    start = text = "MARIAN:"
    for _ in range(12):
        text += play.next_tokens(text, 1)[0]["token"]
    assert play.generate([start], 12, 0.0, 1)[0]["text"] == text[len(start) :]
    assert play.generate([start], 12, 1.0, 1, top_k=1)[0]["text"] == text[len(start) :]
    monkeypatch.setattr(inference, "CHUNK", 2)
    assert play.next_tokens(text, 3)[0]["probability"] > 0


def test_with_a_context_the_n_grams_read_no_more_either(play: Predictor) -> None:
    texts = ["MARIAN: what", "a lot of other words: what"]
    drawn = [play.generate([text], 1, 0.0, 1, context=2)[0]["text"] for text in texts]
    assert drawn[0] == drawn[1] == play.next_tokens("at", 1)[0]["token"]


def test_text_is_drawn_in_proportion(play: Predictor) -> None:
    start, streams = play.vocabulary.encode("MARIAN:"), 500
    drawn = sample(play.network, play.spec, start, streams, 1, 1.0, 1)[:, 0]
    for row in play.next_tokens("MARIAN:", 3):
        share = (drawn == play.vocabulary.tokens.index(row["token"])).mean()
        assert share == pytest.approx(row["probability"], abs=0.08)


def test_only_what_counts_words_requires_scikit_learn(mixed: Settings) -> None:
    for name, needed in ((REVIEWS_NAME, True), (PLAY_NAME, False)):
        package = load_champion(mixed.home, name)
        listed = (package.parent.parent / "requirements.txt").read_text()
        assert ("scikit-learn==" in listed) is ("scipy==" in listed) is needed
        assert json.loads((package / "package.json").read_bytes())["mix"]


def test_a_package_without_a_mix_says_so(play: Predictor) -> None:
    assert isinstance(play.network, MixedNetwork) and play.network.model is play.model


def test_a_package_of_an_older_version_predicts_as_it_did(mixed: Settings, tmp_path: Path) -> None:
    """Its documents are not scaled: it has no squares, and does not say that they are."""
    package = shutil.copytree(load_champion(mixed.home, REVIEWS_NAME), tmp_path / "old")
    (package / "mix/squares.npy").unlink()
    settings = json.loads((package / "mix/mix.json").read_bytes())
    assert settings.pop("scaled") is True
    (package / "mix/mix.json").write_text(json.dumps(settings))
    mixture = read_mixture(package / "mix", "classifier", 0)
    assert isinstance(mixture, ClassifierMixture)
    counting, texts = mixture.counting, ["a good film", "a bad film, a bad plot"]
    expected = seen_grams(texts) @ counting.weights + counting.intercept
    np.testing.assert_allclose(mixture.counted(texts), expected, rtol=1e-6)


def altered(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("name", [REVIEWS_NAME, PLAY_NAME])
def test_a_damaged_mix_is_refused_in_a_line(mixed: Settings, tmp_path: Path, name: str) -> None:
    def copy() -> Path:
        shutil.rmtree(tmp_path / "package", ignore_errors=True)
        return shutil.copytree(load_champion(mixed.home, name), tmp_path / "package")

    files = [path.name for path in (copy() / "mix").iterdir()]
    assert len(files) >= 3
    for file in files:
        for change in (lambda data: data[:-1], lambda data: b"", lambda data: data + b"0"):
            package = copy()
            altered(package / "mix" / file, change)
            with pytest.raises(DamagedError, match=f"mix/{file} was altered"):
                Package.read(package)
    # Without digests, as whoever can write them all would leave it, each file is looked into.
    for file in files:
        package = undigested(copy())
        altered(package / "mix" / file, lambda data: data[: len(data) // 2])
        with pytest.raises(DamagedError):
            Package.read(package)
        (package / "mix" / file).unlink()
        with pytest.raises(FolioError, match=r"not a complete model package \(.*\n?"):
            Predictor.load(package)
    for settings in ({"weight": 7}, {"weight": "nan"}, {"mix": "cache"}):
        package = undigested(copy())
        found = json.loads((package / "mix" / "mix.json").read_bytes())
        (package / "mix" / "mix.json").write_text(json.dumps(found | settings))
        with pytest.raises(DamagedError, match=r"mix\.json"):
            Package.read(package)


def undigested(package: Path) -> Path:
    settings: dict[str, Any] = json.loads((package / "package.json").read_bytes())
    del settings["files"]
    (package / "package.json").write_text(json.dumps(settings))
    return package
