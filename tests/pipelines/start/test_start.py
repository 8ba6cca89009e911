"""A classifier that starts from a language model: plan, lineage, garbage, rebuilding, refusals."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines.audit.provenance import became_of, came_from
from pipelines.audit.reproduction import reproduce
from pipelines.audit.verify import verify
from pipelines.declaration.load import load_spec
from pipelines.errors import FolioError, UsageError
from pipelines.model.backend import load_keras
from pipelines.model.keras_file import load_model
from pipelines.model.network import build_model
from pipelines.registry.references import resolve
from pipelines.run.plan import plan
from pipelines.run.upstream import chain
from pipelines.start.weights import copy_start
from pipelines.store.artifacts import silent
from pipelines.store.lineage import stored
from pipelines.store.settings import Settings
from pipelines.tokens.vocabulary import Vocabulary
from pipelines.upkeep.collect import collect, garbage, take_stock
from pipelines.upkeep.garbage import Policy
from tests.pipelines.start.chain import declared_chain, declared_characters, run

pytestmark = pytest.mark.slow


def planned(pipeline: Path, settings: Settings, *overrides: str) -> dict[str, tuple[str, str]]:
    decisions = plan(load_spec(str(pipeline), overrides=overrides), settings)
    return {one.stage: (one.action, one.reason) for one in decisions}


def test_it_has_the_vocabulary_and_starts_with_the_weights(
    chained: Settings, pipelines: tuple[Path, Path]
) -> None:
    (start,) = stored(chained.store, "start")
    found = {one.manifest["pipeline"]: one for one in stored(chained.store, "tokens")}
    own, other = (
        Vocabulary.load(found[name].path / "vocabulary") for name in ("tiny-started", "tiny-lm")
    )
    assert own.tokens == other.tokens and own.end is None and other.end == "</s>"
    assert start.counts == {"pipeline": "tiny-lm", "version": 1}

    load_keras("tensorflow")
    source = load_model(start.path / "model.keras")
    spec = load_spec(str(pipelines[1])).model
    model = build_model(spec, own.size, training_batch=16, seed=5)
    copy_start(spec, source, model)
    for layer in ("embedding", "lstm_0"):
        for read, written in zip(
            source.get_layer(layer).trainable_variables,
            model.get_layer(layer).trainable_variables,
            strict=True,
        ):
            assert (np.array(read) == np.array(written)).all()


def test_characters_that_the_other_lacks_are_added(tmp_path: Path) -> None:
    """A language model of characters starts with all weights of the other, its output's too."""
    settings = Settings.at(tmp_path / "home")
    first, second = declared_characters(tmp_path)
    run(first, settings)
    run(second, settings)
    found = {one.manifest["pipeline"]: one for one in stored(settings.store, "tokens")}
    theirs, own = (Vocabulary.load(found[name].path / "vocabulary") for name in ("prose", "verse"))
    assert own.tokens == (*theirs.tokens, "*", "~") and own.end == "*"
    assert own.counts[-1] > 0 and len(own.counts) == own.size

    load_keras("tensorflow")
    (start,) = stored(settings.store, "start")
    source = load_model(start.path / "model.keras")
    spec = load_spec(str(second)).model
    model = build_model(spec, own.size, training_batch=4, seed=5)
    fresh = build_model(spec, own.size, training_batch=4, seed=5)
    copied = copy_start(spec, source, model)
    assert len(copied) == len(model.trainable_variables)
    for read, begun, written in zip(
        source.trainable_variables,
        fresh.trainable_variables,
        model.trainable_variables,
        strict=True,
    ):
        known = tuple(slice(0, length) for length in read.shape)
        expected = np.array(begun)
        expected[known] = np.array(read)
        np.testing.assert_array_equal(np.array(written), expected)


@pytest.mark.long
def test_they_learn_at_a_rate_of_their_own(copied: Settings, pipelines: tuple[Path, Path]) -> None:
    """With none, the weights stay those of the language model, and the others learn."""
    run(pipelines[1], copied, "training.start_rate=0")
    (start,) = stored(copied.store, "start")
    newest = max(
        (one for one in stored(copied.store, "model") if one.manifest["pipeline"] != "tiny-lm"),
        key=lambda one: one.manifest["created"],
    )
    load_keras("tensorflow")
    theirs, ours = (load_model(one.path / "model.keras") for one in (start, newest))
    for layer in ("embedding", "lstm_0"):
        for read, found in zip(
            theirs.get_layer(layer).trainable_variables,
            ours.get_layer(layer).trainable_variables,
            strict=True,
        ):
            np.testing.assert_array_equal(np.array(found), np.array(read))
    assert np.array(ours.get_layer("logit").bias).all()  # it started at 0


def test_the_plan_names_the_version(copied: Settings, pipelines: tuple[Path, Path]) -> None:
    below = planned(pipelines[1], copied)
    assert below["start"] == ("reuse", "tiny-lm: champion 1; nothing changed")
    assert all(action == "reuse" for action, _ in below.values())
    assert "start" not in planned(pipelines[0], copied)


@pytest.mark.long
def test_another_champion_retrains_and_a_pinned_version_does_not(
    copied: Settings, pipelines: tuple[Path, Path]
) -> None:
    run(pipelines[0], copied, "training.epochs=2")
    below = planned(pipelines[1], copied)
    assert below["start"] == ("run", "tiny-lm: champion 1 → 2")
    assert below["tokens"][1].startswith("start must run first")
    pinned = "model.start_from.version=1"
    assert planned(pipelines[1], copied, pinned)["start"][0] == "reuse"
    done = run(pipelines[1], copied)
    assert done["start"] == done["model"] == "run" and done["corpus"] == "reuse"


def test_without_a_champion_it_says_what_to_do(
    tmp_path: Path, pipelines: tuple[Path, Path]
) -> None:
    for ask in (planned, run):
        with pytest.raises(UsageError) as error:
            ask(pipelines[1], Settings.at(tmp_path / "home"))
        assert "tiny-started starts from tiny-lm: no model is registered" in str(error.value)
        assert "folio run tiny-started --with-upstream" in str(error.value)
    with pytest.raises(UsageError, match="folio run imdb --profile mixed --with-upstream"):
        plan(load_spec("imdb", "mixed"), Settings.at(tmp_path / "home"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.embedding=8", "has model.embedding 6, not 8"),
        ("model.units=[9]", r"has model.units \[7\], not \[9\]"),
        ("tokens.lower=false", "has tokens.lower True, not False"),
        ("model.start_from.version=7", "there is no version 7"),
    ],
)
def test_what_does_not_fit_is_refused(
    chained: Settings, pipelines: tuple[Path, Path], change: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        planned(pipelines[1], chained, change)


def test_two_layers_are_joined_as_they_were(copied: Settings, pipelines: tuple[Path, Path]) -> None:
    """With weights that were trained to be added to their inputs, or not to be."""
    run(pipelines[0], copied, "model.units=[7, 7]", "model.residual=true")
    start = ("model.start_from.version=2", "model.units=[7, 7]")
    with pytest.raises(UsageError, match=r"has model\.residual True, not False"):
        planned(pipelines[1], copied, *start)
    with pytest.raises(UsageError, match=r"has model\.units \[7, 7\], not \[7\]"):
        planned(pipelines[1], copied, start[0])  # the units first: one layer cannot be residual
    assert planned(pipelines[1], copied, *start, "model.residual=true")["start"][0] == "run"


def test_what_the_declaration_alone_shows_is_refused(pipelines: tuple[Path, Path]) -> None:
    for change, message in [
        ("tokens.min_count=3", "the vocabulary is that of tiny-lm; remove it"),
        ("model.start_from.pipeline=tiny-started", "cannot start from itself"),
        ("model.start_from.version=newest", "model.start_from.version"),
        ("model.start_from={}", "model.start_from.pipeline is missing"),
    ]:
        with pytest.raises(UsageError, match=message):
            load_spec(str(pipelines[1]), overrides=(change,))
    with pytest.raises(UsageError, match="is for the weights from"):
        load_spec(str(pipelines[0]), overrides=("training.start_rate=0.5",))


def test_a_circle_is_refused_with_its_path(tmp_path: Path) -> None:
    first, second = declared_chain(tmp_path)
    assert chain(str(second)) == [str(first)] and chain(str(first)) == []
    text = first.read_text().replace(
        "kind: lang", "start_from: {pipeline: tiny-started}, kind: lang"
    )
    first.write_text(text)
    with pytest.raises(UsageError, match="tiny-started → tiny-lm → tiny-started is a circle"):
        run(second, Settings.at(tmp_path / "home"))


def test_a_damaged_model_is_not_started_from(
    copied: Settings, pipelines: tuple[Path, Path]
) -> None:
    for one in stored(copied.store, "model"):
        if one.manifest["pipeline"] == "tiny-lm":
            (one.path / "model.keras").write_bytes(b"other bytes")
    with pytest.raises(FolioError, match="tiny-lm version 1: its model artifact is damaged"):
        planned(pipelines[1], copied)


def test_lineage_crosses_in_both_directions(chained: Settings) -> None:
    found, _, _ = came_from("tiny-started@1", chained)
    made = {(one["pipeline"], one["stage"]) for one in found["artifacts"]}
    assert {("tiny-lm", "model"), ("tiny-lm", "batches"), ("tiny-started", "start")} <= made
    assert found["gone"] == []
    (batches,) = [
        one for one in stored(chained.store, "batches") if one.manifest["pipeline"] == "tiny-lm"
    ]
    below, _, _ = became_of(batches.key[:16], chained)
    assert {one["model"] for one in below["versions"]} >= {"tiny-started"}


@pytest.mark.long
def test_garbage_collection_keeps_what_it_started_from(
    copied: Settings, pipelines: tuple[Path, Path]
) -> None:
    """Two newer language models, and only one run of each pipeline is kept."""
    for epochs in (2, 3):
        run(pipelines[0], copied, f"training.epochs={epochs}")
    policy = Policy(runs=1, days=0)
    stock = take_stock(copied)
    collect(garbage(stock, copied, policy), copied, policy, time.time(), pytest.fail)
    found, _, _ = came_from("tiny-started@1", copied)
    assert found["gone"] == []
    assert resolve("tiny-lm@1", copied).version is not None
    assert verify(copied.home, copied.store.root, silent).problems == []


@pytest.mark.long
def test_both_are_rebuilt_bit_for_bit(chained: Settings, tmp_path: Path) -> None:
    found = reproduce(resolve("tiny-started@1", chained), chained, tmp_path / "again")
    assert found["agrees"]
    names = [one["stage"] for one in found["stages"]]
    assert names.index("tiny-lm model") < names.index("start") < names.index("tokens")
    assert [one["changed"] for one in found["stages"]] == [[]] * len(names)


@pytest.mark.long
def test_a_language_model_that_has_read_the_test_texts_is_found(
    tmp_path: Path, empty_registry: Path
) -> None:
    first, second = declared_chain(tmp_path)
    shutil.copytree(empty_registry, tmp_path / "home")
    settings = Settings.at(tmp_path / "home")
    first.write_text(first.read_text() + "seed: 2\n")  # other documents are held out
    run(first, settings)
    run(second, settings)
    (problem,) = verify(settings.home, settings.store.root, silent).problems
    assert "of tiny-lm: the model that was started from has learned from" in problem
