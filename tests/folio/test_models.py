"""`folio.load` gives a registered model, which answers as the commands do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import folio
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings

pytestmark = pytest.mark.slow

TEXTS = ["A film to remember.", "", "Dull and long."]


@pytest.fixture(autouse=True)
def home(trained: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLIO_HOME", str(trained.home))


@pytest.mark.parametrize("reference", ["tiny-reviews", "tiny-reviews@champion", "tiny-reviews@1"])
def test_a_classifier_answers_as_its_package(trained: Settings, reference: str) -> None:
    model = folio.load(reference)
    assert (model.name, model.version) == ("tiny-reviews", 1)
    assert repr(model) == "<folio model tiny-reviews@1: classifier>"
    own = Predictor.load(load_champion(trained.home, "tiny-reviews"))
    assert model.predict(TEXTS) == own.predict(TEXTS)
    assert model.predict(TEXTS[0]) == model.predict(TEXTS[:1])
    with pytest.raises(folio.UsageError, match="tiny-reviews is a classifier: use predict"):
        model.generate("A film")


def test_a_language_model_continues_texts_and_says_what_comes_next(trained: Settings) -> None:
    model = folio.load("tiny-play")
    first, second = model.generate(["MARIAN:", "A"], length=12, seed=3)
    assert first == model.generate("MARIAN:", length=12, seed=3)[0]
    assert first["start"] == "MARIAN:" and len(first["text"]) == 12 and second["start"] == "A"
    (row,) = model.predict("MARIAN:", top=3)
    assert row["text"] == "MARIAN:" and len(row["next"]) == 3
    unknown = "\N{SNOWMAN}"
    with pytest.raises(folio.FolioError, match="does not know"):
        model.generate(unknown)
    assert model.generate(unknown, length=2, replace_unknown=True)[0]["start"] == unknown


@pytest.mark.parametrize(
    ("reference", "part"),
    [
        ("nobody", "nobody: no model is registered; train one with: folio run nobody"),
        ("tiny-play@7", "tiny-play@7: there is no such version; registered: 1"),
        ("tiny-play@best", "tiny-play@best: there is no such version"),
    ],
)
def test_a_model_that_is_not_there_is_named(trained: Settings, reference: str, part: str) -> None:
    with pytest.raises(folio.FolioError) as error:
        folio.load(reference)
    assert part in str(error.value)


@pytest.mark.parametrize("reference", [None, [], {}, 7])
def test_what_is_no_name_is_refused_as_python_does(reference: object) -> None:
    for call in (folio.load, folio.batches, folio.run):
        with pytest.raises(TypeError, match="expected str"):
            call(reference)


@pytest.mark.parametrize("call", [folio.load, folio.batches])
def test_a_name_of_two_lines_is_refused_in_one(call: Callable[[str], object]) -> None:
    with pytest.raises(folio.UsageError, match=r"^'a\\nb': a name has no line breaks"):
        call("a\nb")
