"""Champion and challenger brought to the same test text, by models that the stages trained."""

from __future__ import annotations

import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.declaration.spec import RegistrySpec
from pipelines.registry.lookup import list_models
from pipelines.registry.versions import versions
from pipelines.release.candidate import Candidate
from pipelines.release.fair_comparison import Challenger, held_out_digest
from pipelines.run.retraining import retrain_plain
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.conftest import PLAY, REVIEWS, artifact_of, declared

pytestmark = pytest.mark.slow

ACCURACY, BITS = RegistrySpec(metric="accuracy"), RegistrySpec(metric="bits_per_character")
Run = Callable[..., dict[str, Any]]


def challenger(home: Settings, name: str, **changes: Any) -> Challenger:
    """The registered model against itself."""
    folders = {stage: artifact_of(home, name, stage) for stage in ("metrics", "corpus", "tokens")}
    return Challenger(
        folders["metrics"].path,
        folders["corpus"],
        folders["tokens"].path,
        **{
            "held_out": held_out_digest(folders["corpus"].manifest),
            "batch_size": 16,
            "labels": ("negative", "positive"),
            "store": home.store,
            "threads": 2,
        }
        | changes,
    )


def tags(home: Settings, name: str, **changes: str) -> dict[str, str]:
    (version,) = versions(home.home, name)
    return version.tags | {
        f"folio.{key.replace('_', '.')}": value for key, value in changes.items()
    }


def evidence(
    home: Settings,
    name: str,
    spec: RegistrySpec,
    given: dict[str, str] | None = None,
    **changes: Any,
) -> Any:
    return challenger(home, name, **changes).evidence(
        given or tags(home, name), lambda: load_champion(home.home, name), spec
    )


@pytest.mark.parametrize(("name", "spec"), [("tiny-reviews", ACCURACY), ("tiny-play", BITS)])
def test_what_was_recorded_of_the_champion_is_used(
    trained: Settings, name: str, spec: RegistrySpec
) -> None:
    found = evidence(trained, name, spec)
    assert (found.effect, found.low, found.high, found.rescored) == (0, 0, 0, False)


@pytest.mark.parametrize(("name", "spec"), [("tiny-reviews", ACCURACY), ("tiny-play", BITS)])
@pytest.mark.parametrize("missing", [{"test_digest": "another"}, {"metrics_key": "gone"}])
def test_else_the_champion_is_scored_anew(
    trained: Settings, name: str, spec: RegistrySpec, missing: dict[str, str]
) -> None:
    found = evidence(trained, name, spec, tags(trained, name, **missing))
    assert found.rescored and found.left_out == 0
    assert found.effect == pytest.approx(0, abs=1e-5)


def test_without_what_it_was_trained_on_nobody_knows_what_it_has_seen(trained: Settings) -> None:
    given = tags(trained, "tiny-reviews", test_digest="another", corpus_key="gone")
    assert "no longer in the store, so it may have seen" in evidence(
        trained, "tiny-reviews", ACCURACY, given
    )


def test_a_champion_that_answers_another_question_is_not_compared(trained: Settings) -> None:
    assert evidence(trained, "tiny-reviews", ACCURACY, labels=("bad", "good")) == (
        "it distinguishes negative from positive"
    )
    play = challenger(trained, "tiny-play")
    found = play.evidence(
        tags(trained, "tiny-reviews"), lambda: load_champion(trained.home, "tiny-reviews"), BITS
    )
    assert found == "it is a classifier"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lower": True}, "lower-case text"),
        ({"kind": "word"}, "words without the punctuation between"),
    ],
)
def test_easier_text_is_not_compared(
    trained: Settings, tmp_path: Path, changes: dict, reason: str
) -> None:
    package = tmp_path / "package"
    shutil.copytree(load_champion(trained.home, "tiny-play"), package)
    path = package / "vocabulary" / "settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    found = challenger(trained, "tiny-play").evidence(
        tags(trained, "tiny-play"), lambda: package, BITS
    )
    assert reason in found


def test_a_broken_package_is_told(trained: Settings, tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(load_champion(trained.home, "tiny-play"), package)
    (package / "model.keras").write_bytes(b"no model")
    found = challenger(trained, "tiny-play").evidence(
        tags(trained, "tiny-play", test_digest="another"), lambda: package, BITS
    )
    assert found.startswith("it cannot be scored (") and "not a complete model package" in found


@pytest.fixture
def run(empty_registry: Path, tmp_path: Path) -> Run:
    """`run(name, text, *overrides)`: a retraining in a home of the test's own; its release."""
    settings = Settings.at(shutil.copytree(empty_registry, tmp_path / "home"))

    def go(name: str, text: str, *overrides: str) -> dict[str, Any]:
        path = declared(tmp_path, name, text)
        retrain_plain(str(path), overrides=overrides, settings=settings, notice=lambda text: None)
        released = artifact_of(settings, name, "release").path / "release.json"
        return json.loads(released.read_bytes())

    go.home = settings.home
    go.page = lambda name: words_of(artifact_of(settings, name, "report").path / "report.html")
    return go


def words_of(page: Path) -> str:
    """What a page says, without its tags."""
    text = re.sub(
        r"<(style|svg).*?</\1>|<[^>]*>", " ", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    return " ".join(html.unescape(text).split())


@pytest.mark.long
def test_the_gate_with_real_language_models(run: Run) -> None:
    """Better, the same again, cut otherwise, and another test part that the champion knows."""
    first = run("play", PLAY)
    assert (first["verdict"], first["evidence"]) == ("promote", None)
    better = run("play", PLAY, "training.epochs=4")
    assert better["verdict"] == "promote" and better["evidence"]["high"] < 0
    assert not better["evidence"]["rescored"] and better["champion"] == 2
    page, found = run.page("play"), better["evidence"]
    assert f"Promoted: version 2 is champion {better['reason']}." in page
    assert "Champion version 1 was trained on the same text" in page
    assert (
        f"Bits per character, which decides {found['challenger']:.3f} {found['champion']:.3f} "
        f"{found['effect']:+.4f} {found['low']:+.4f} to {found['high']:+.4f}"
    ) in page
    assert set(found["others"]) == {"nats_per_character", "perplexity"}
    margin = PLAY.replace("floor: 8.0", "margin: 0.3")
    same = run("play", margin, "training.epochs=4", "seed=2")
    assert same["verdict"] == "inconclusive" and same["champion"] == 2
    assert same["evidence"]["low"] != same["evidence"]["high"]
    assert "Inconclusive: version 2 stays champion" in run.page("play")
    assert "The shaded band is the margin, the variation between seeds." in run.page("play")
    subwords = run("play", PLAY, "training.epochs=4", "tokens.kind=subword", "tokens.max_size=200")
    assert (
        subwords["verdict"] == "promote"
        and subwords["evidence"]["count"] == (better["evidence"]["count"])
    )
    moved = run("play", PLAY, "corpus.test=0.15", "training.epochs=1")
    assert moved["verdict"] == "reject" and moved["evidence"]["rescored"]
    assert (
        moved["evidence"]["left_out"] > 5 and "left out because the champion was" in moved["reason"]
    )
    page = run.page("play")
    assert "Rejected: version 4 stays champion" in page
    assert f"{moved['evidence']['left_out']} are left out because the champion was trained" in page
    assert (
        "This text cannot be compared with that of champion version 4: there are too few "
        "documents, or the tokens are of another kind."
    ) in page
    (model,) = list_models(run.home, "play")
    assert [one["verdict"] for one in model["versions"]] == [
        "promote",
        "promote",
        "inconclusive",
        "promote",
        "reject",
    ]
    assert model["versions"][1]["evidence"] == better["evidence"]


@pytest.mark.long
def test_slice_floors_of_a_real_language_model(run: Run) -> None:
    grouped = PLAY.replace("[part, speaker]", "[part, group]")
    floors = grouped.replace("registry: {{", "registry: {{slice_floors: {{group: {floor}}}, ")
    missed = run("play", floors.replace("{floor}", "0.5"))
    assert missed["verdict"] == "reject"
    assert re.search(
        r"^bits_per_character [\d.]+ on the \d\d segments of group play.txt exceeds "
        r"the limit of 0\.5 for this slice$",
        missed["reason"],
    )
    assert f"Rejected: there is no champion {missed['reason']}." in run.page("play")
    misspelt = run("play", floors.replace("{floor}", "{{plai.txt: 7.9}}"))
    assert misspelt["verdict"] == "reject" and "floor for group plai.txt" in misspelt["reason"]
    assert misspelt["reason"].endswith("it has play.txt")
    met = run("play", floors.replace("{floor}", "{{play.txt: 7.9}}"))
    assert met["verdict"] == "promote"


@pytest.mark.long
def test_the_gate_with_real_classifiers(run: Run) -> None:
    """A model that has learned nothing is rejected by the evidence where no floor does it."""
    text = (
        REVIEWS.replace("epochs: 2", "epochs: 4")
        .replace(", floor: 0.1", "")
        .replace("validation: 0.2, test: 0.2", "validation: 0.1, test: 0.3")
    )
    assert run("reviews", text)["verdict"] == "promote"
    bad = run("reviews", text, "training.optimizer=sgd", "training.learning_rate=0.000001")
    assert bad["verdict"] == "reject" and bad["evidence"]["high"] < 0
    assert bad["evidence"]["mcnemar"]["p"] < 0.001 and bad["champion"] == 1
    floored = text.replace("metric: accuracy", "metric: accuracy, slice_floors: {{length: 0.999}}")
    found = run("reviews", floored, "training.learning_rate=0.021")
    assert (
        found["verdict"] == "reject"
        and "is below the floor of 0.999 for this slice" in found["reason"]
    )


def test_a_candidate_knows_the_digest_of_its_test_documents(
    trained: Settings, tmp_path: Path
) -> None:
    inputs = {
        stage: artifact_of(trained, "tiny-reviews", stage)
        for stage in ("model", "metrics", "tokens", "corpus")
    }
    config = {
        "name": "x",
        "registry": ACCURACY,
        "sample": False,
        "corpus.labels": ("negative", "positive"),
    }
    found = Candidate.of(inputs, config, tmp_path / "staged")
    assert found.tags["folio.test.digest"] == held_out_digest(inputs["corpus"].manifest)
    assert found.challenger() == challenger(trained, "tiny-reviews")
