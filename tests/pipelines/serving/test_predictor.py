"""A package answers as the model was trained and measured, and no text makes it fail."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.errors import FolioError, UsageError
from pipelines.model.sampling import sample
from pipelines.serving import batching
from pipelines.serving import predictor as inference
from pipelines.serving.package import write_package
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.conftest import artifact_of

pytestmark = pytest.mark.slow

REVIEWS, PLAY = "tiny-reviews", "tiny-play"
WORDS, JAPANESE = "tiny-words", "tiny-japanese"
WISH = {"length": 30, "temperature": 1.0, "seed": 1}


def package(trained: Settings, pipeline: str, folder: Path) -> Path:
    write_package(
        folder,
        artifact_of(trained, pipeline, "model"),
        artifact_of(trained, pipeline, "tokens"),
        pipeline=pipeline,
        labels=("bad", "good"),
        sample=False,
        measured=measured(trained, pipeline),
    )
    return folder


def measured(trained: Settings, pipeline: str) -> dict:
    path = artifact_of(trained, pipeline, "metrics").path
    return json.loads((path / "metrics.json").read_bytes())


@pytest.fixture(scope="module")
def folders(trained: Settings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("packages")
    return {name: package(trained, name, root / name) for name in (REVIEWS, PLAY)}


@pytest.fixture(scope="module")
def reviews_predictor(folders: dict[str, Path]) -> Predictor:
    return Predictor.load(folders[REVIEWS], "tensorflow")


@pytest.fixture(scope="module")
def play_predictor(folders: dict[str, Path]) -> Predictor:
    return Predictor.load(folders[PLAY])


@pytest.fixture(scope="module")
def words_predictor(writers: Settings) -> Predictor:
    return Predictor.load(load_champion(writers.home, WORDS))


@pytest.fixture(scope="module")
def japanese_predictor(writers: Settings) -> Predictor:
    return Predictor.load(load_champion(writers.home, JAPANESE))


def test_a_package_is_whole_and_its_bytes_depend_on_the_model_alone(
    trained: Settings, folders: dict[str, Path], tmp_path: Path
) -> None:
    again = package(trained, REVIEWS, tmp_path / "again")
    names = sorted(str(path.relative_to(again)) for path in again.rglob("*") if path.is_file())
    assert names == [
        "model.json",
        "model.keras",
        "package.json",
        "vocabulary/settings.json",
        "vocabulary/tokens.tsv",
    ]
    assert all((again / n).read_bytes() == (folders[REVIEWS] / n).read_bytes() for n in names)
    assert json.loads((again / "package.json").read_text()) == {
        "pipeline": REVIEWS,
        "kind": "classifier",
        "labels": ["bad", "good"],
        "tokens": {"kind": "word", "lower": False, "max_tokens": 40, "keep": "last"},
        "window": None,
        "context": None,
        "layout": None,
        "calibration": {
            key: measured(trained, REVIEWS)["calibration"][key]
            for key in ("temperature", "threshold")
        },
        "backend": "tensorflow",
        "sample": False,
        "normal_form": None,
        "html_breaks": False,
        "text_column": None,
    }


def test_model_and_vocabulary_must_belong_together(trained: Settings, tmp_path: Path) -> None:
    with pytest.raises(FolioError, match="was not trained with the vocabulary"):
        write_package(
            tmp_path / "p",
            artifact_of(trained, REVIEWS, "model"),
            artifact_of(trained, PLAY, "tokens"),
            pipeline="x",
            labels=("a", "b"),
            sample=False,
            measured={},
        )


# Classifiers


def test_predictions_are_those_that_were_measured(
    trained: Settings, reviews_predictor: Predictor
) -> None:
    documents = pl.read_parquet(
        artifact_of(trained, REVIEWS, "corpus").path / "documents" / "test-*.parquet"
    )
    measured = dict(
        pl.read_parquet(
            artifact_of(trained, REVIEWS, "metrics").path / "predictions.parquet",
            columns=["id", "probability"],
        ).iter_rows()
    )
    rows = reviews_predictor.predict(documents["text"])
    assert len(rows) == len(measured) > 20
    for name, text, row in zip(documents["id"], documents["text"], rows, strict=True):
        assert row["positive_probability"] == pytest.approx(measured[name], abs=1e-5)
        positive = measured[name] > 0.5
        assert row["label"] == ("good" if positive else "bad")
        assert row["probability"] == max(
            row["positive_probability"], 1 - row["positive_probability"]
        )
        assert row["text"] == text and "error" not in row


def test_order_and_company_do_not_matter(
    reviews_predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a fine film " * n for n in (1, 40, 3, 9, 2)] + ["dull"] * 3
    together = reviews_predictor.predict(texts)
    monkeypatch.setattr(batching, "GROUP_TEXTS", 2)
    monkeypatch.setattr(batching, "MAX_ROWS", 2)
    apart = reviews_predictor.predict(iter(texts))
    assert [row["text"] for row in apart] == texts
    assert [row["positive_probability"] for row in apart] == pytest.approx(
        [row["positive_probability"] for row in together], abs=1e-6
    )


def test_texts_are_cleaned_and_cut_as_in_training(reviews_predictor: Predictor) -> None:
    end = "good " * 40
    plain, longer, tagged = reviews_predictor.predict(
        ["A<br />fine\nfilm", "dull " * 100 + end, end]
    )
    assert plain["positive_probability"] == pytest.approx(
        reviews_predictor.predict(["A\r\nfine<br>film"])[0]["positive_probability"], abs=1e-6
    )
    assert longer["positive_probability"] == pytest.approx(tagged["positive_probability"], abs=1e-6)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the text is empty"),
        (" \n\t ", "the text is empty"),
        (None, "there is no text"),
        (3.5, "not a text but float"),
        (b"bytes", "not a text but bytes"),
        ("broken \ud800 text", "the text is not valid Unicode"),
    ],
)
def test_what_cannot_be_judged_says_why(
    reviews_predictor: Predictor, text: object, error: str
) -> None:
    rows = reviews_predictor.predict(["fine", text, "dull"])
    assert rows[1]["error"] == error
    assert rows[1]["label"] is rows[1]["probability"] is rows[1]["positive_probability"] is None
    assert rows[0]["label"] and rows[2]["label"]
    json.dumps(rows, ensure_ascii=False).encode()


def test_a_huge_text_is_cut_like_any_other(reviews_predictor: Predictor) -> None:
    huge = "word " * 2_000_000 + "good " * 40
    row, short = reviews_predictor.predict([huge, "good " * 40])
    assert row["positive_probability"] == pytest.approx(short["positive_probability"], abs=1e-6)


def test_a_huge_text_that_nothing_cuts_is_refused_alone(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders[REVIEWS], tmp_path / "uncut")
    settings = json.loads((folder / "package.json").read_text())
    settings["tokens"]["max_tokens"] = None
    (folder / "package.json").write_text(json.dumps(settings))
    rows = Predictor.load(folder).predict(["fine", "word " * 60_000, "dull"])
    assert rows[1]["error"] == "the text has more than 50,000 tokens"
    assert rows[0]["label"] and not rows[1]["label"] and rows[2]["label"]


def test_a_text_without_words_is_judged(reviews_predictor: Predictor) -> None:
    assert reviews_predictor.predict(["!!!", "映画"])[0]["label"] in ("bad", "good")


# Language models


@pytest.mark.parametrize(("name", "length"), [(PLAY, 30), (WORDS, 12), (JAPANESE, 150)])
def test_the_samples_of_the_report_come_out_again(
    trained: Settings, writers: Settings, request: pytest.FixtureRequest, name: str, length: int
) -> None:
    home = trained if name == PLAY else writers
    predictor = request.getfixturevalue(f"{name.removeprefix('tiny-')}_predictor")
    metrics = json.loads((artifact_of(home, name, "metrics").path / "metrics.json").read_bytes())
    for made in metrics["samples"]:
        row = predictor.generate([made["start"]], length, made["temperature"], made["seed"])
        assert row == [
            {
                "start": made["start"],
                "text": made["text"],
                "temperature": made["temperature"],
                "seed": made["seed"],
            }
        ]


def test_next_tokens_are_ranked(play_predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    ranked = play_predictor.next_tokens("MARIAN:", 1000)
    chances = [row["probability"] for row in ranked]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1)
    assert {row["token"] for row in ranked} == set(play_predictor.vocabulary.tokens[2:])
    assert play_predictor.next_tokens("MARIAN:", 2) == ranked[:2]
    likeliest = play_predictor.generate(["MARIAN:"], 1, 0.0, 1)[0]["text"]
    assert likeliest == ranked[0]["token"]
    monkeypatch.setattr(inference, "CHUNK", 3)
    again = play_predictor.next_tokens("MARIAN:", 1000)
    assert np.allclose([row["probability"] for row in again], chances, atol=1e-6)


def test_texts_of_one_start_differ(play_predictor: Predictor) -> None:
    """The first is that of a single wish, and each is the same however the wish is written."""
    wish = {"length": 30, "temperature": 1.0, "seed": 5}
    three = play_predictor.generate(["MARIAN:"], count=3, **wish)
    assert len({row["text"] for row in three}) == 3
    assert three[:1] == play_predictor.generate(["MARIAN:"], **wish)
    mixed = play_predictor.generate(["MARIAN:", "A", "MARIAN:", "MARIAN:"], **wish)
    assert [mixed[0], mixed[2], mixed[3]] == three
    assert mixed[1:2] == play_predictor.generate(["A"], **wish)


def test_an_empty_start_is_a_line_break(play_predictor: Predictor) -> None:
    empty, line = play_predictor.generate(["", "\n"], 20, 1.0, 1)
    assert empty["text"] == line["text"] and len(empty["text"]) == 20
    assert play_predictor.next_tokens("") == play_predictor.next_tokens("\n")


def test_unknown_characters_are_named_or_replaced(play_predictor: Predictor) -> None:
    with pytest.raises(FolioError, match=r"does not know '猫', '€'; leave"):
        play_predictor.generate(["MARIAN", "a 猫 for €, 猫"], 5, 1.0, 1)
    with pytest.raises(FolioError, match="does not know '猫'"):
        play_predictor.next_tokens("猫")
    made = play_predictor.generate(["猫"], 5, 1.0, 1, replace_unknown=True)
    assert made[0]["start"] == "猫" and len(made[0]["text"]) == 5
    assert len(play_predictor.next_tokens("猫", 4, replace_unknown=True)) == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": -1.0}, "temperature -1"),
        ({"length": 0}, "length 0"),
        ({"top_k": 0}, "top_k 0"),
        ({"starts": [3]}, "not a text but int"),
        ({"starts": ["\udc80"]}, "not valid Unicode"),
    ],
)
def test_impossible_wishes_are_refused(
    play_predictor: Predictor, given: dict, message: str
) -> None:
    wish = {"starts": ["A"], "length": 5, "temperature": 1.0, "seed": 1} | given
    with pytest.raises(UsageError, match=message):
        play_predictor.generate(**wish)


def test_the_wrong_kind_says_what_to_use(
    play_predictor: Predictor, reviews_predictor: Predictor
) -> None:
    with pytest.raises(UsageError, match="tiny-play is a language model: use generate"):
        play_predictor.predict(["x"])
    with pytest.raises(UsageError, match="tiny-reviews is a classifier: use predict"):
        reviews_predictor.generate(["x"], 5, 1.0, 1)


# Windows, contexts, ends


def test_only_the_window_is_read(words_predictor: Predictor) -> None:
    window, longer = "some of them said", "and so it was that some of them said"
    assert words_predictor.next_tokens(window, 10**6) == words_predictor.next_tokens(longer, 10**6)
    outputs = words_predictor.model.predict_on_batch(
        {
            "tokens": words_predictor.vocabulary.encode(window)[None].astype(np.int32),
            "length": np.array([4], np.int32),
            **{f"state_{i}": np.zeros((1, 7), np.float32) for i in (0, 1)},
        }
    )
    chance = np.exp(outputs["logits"][0, -1, 2:].astype(np.float64))
    ranked = words_predictor.next_tokens(window, 10**6)
    assert [row["token"] for row in ranked[:5]] == [
        words_predictor.vocabulary.tokens[2 + i] for i in np.argsort(-chance)[:5]
    ]
    assert [row["probability"] for row in ranked] == pytest.approx(
        sorted(chance / chance.sum(), reverse=True), rel=1e-4
    )


@pytest.mark.parametrize("start", ["the", "and so it was that some of them said"])
def test_each_word_is_the_likeliest_after_the_window(
    words_predictor: Predictor, start: str
) -> None:
    text = start
    for _ in range(8):
        text += " " + words_predictor.next_tokens(text, 1)[0]["token"]
    made = words_predictor.generate([start], 8, 0.0, 1)[0]
    assert made["start"] + made["text"] == text


def test_fewer_words_than_the_window_are_said(
    words_predictor: Predictor, play_predictor: Predictor
) -> None:
    few, many = "some of", "some of them said that"
    assert words_predictor.shortness([many, "Some, of them said!"]) is None
    assert words_predictor.shortness([many, few]) == (
        "tiny-words: only 2 of the 4 words that it was trained on: 'some of'"
    )
    assert "only 0 of the 4 words" in words_predictor.shortness(["", few, "the", few])
    assert words_predictor.shortness(["", few, "the", few]).endswith("'' (and 2 more such texts)")
    assert play_predictor.shortness([""]) is None


def test_a_context_is_asked_for_or_declared(
    play_predictor: Predictor, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders[PLAY], tmp_path / "declared")
    settings = json.loads((folder / "package.json").read_text())
    (folder / "package.json").write_text(json.dumps(settings | {"context": 3}))
    declared, start = Predictor.load(folder), ["MARIAN: I", "e: I"]
    asked = play_predictor.generate(start, **WISH, context=3)
    assert declared.generate(start, **WISH) == asked
    assert asked[0]["text"] == asked[1]["text"]  # the last three are the same
    carried = play_predictor.generate(start, **WISH)
    assert carried[0]["text"] != asked[0]["text"]
    assert declared.generate(start, **WISH, context=1000) == carried
    assert declared.next_tokens(start[0]) == declared.next_tokens(start[1])
    assert declared.next_tokens(start[0]) == play_predictor.next_tokens(": I")


def test_texts_are_composed_as_those_that_were_read(
    trained: Settings, folders: dict[str, Path], tmp_path: Path
) -> None:
    """In packages of earlier versions they are not: their answers stay the same."""
    settings = json.loads((load_champion(trained.home, REVIEWS) / "package.json").read_text())
    assert settings["normal_form"] == "NFC"
    read: list[list[int]] = []

    def watch(lengths: np.ndarray, ids: list[np.ndarray]) -> None:
        read.extend(row.tolist() for row in ids)

    for form in ("NFC", None):
        folder = shutil.copytree(folders[REVIEWS], tmp_path / f"package {form}")
        own = json.loads((folder / "package.json").read_text()) | {"normal_form": form}
        (folder / "package.json").write_text(json.dumps(own))
        predictor = Predictor.load(folder)
        predictor.predict(["caf\u00e9", "cafe\u0301"], watch)
    known = predictor.vocabulary.tokens.index("caf\u00e9")
    assert read[:3] == [[known], [known], [known]] and read[3] != [known]


def test_packages_of_earlier_versions_carry_the_state(
    folders: dict[str, Path], tmp_path: Path, play_predictor: Predictor
) -> None:
    folder = shutil.copytree(folders[PLAY], tmp_path / "earlier")
    settings = json.loads((folder / "package.json").read_text())
    del settings["window"], settings["context"]
    (folder / "package.json").write_text(json.dumps(settings))
    assert Predictor.load(folder).generate(["M"], **WISH) == play_predictor.generate(["M"], **WISH)


def test_japanese_in_and_out_until_the_model_ends(japanese_predictor: Predictor) -> None:
    [made] = japanese_predictor.generate(["日本の"], 150, 1.0, 1)
    drawn = sample(
        japanese_predictor.model,
        japanese_predictor.spec,
        japanese_predictor._start("日本の", False),
        1,
        150,
        1.0,
        1,
        never=japanese_predictor.vocabulary.never_drawn,
    )[0]
    end = drawn.tolist().index(japanese_predictor.vocabulary.end_id)
    assert made["text"] == japanese_predictor.vocabulary.decode(drawn[:end])
    assert sum(ord(character) > 0x3000 for character in made["text"]) > len(made["text"]) / 2
    with pytest.raises(FolioError, match="does not know '€'"):
        japanese_predictor.generate(["日本€"], 5, 1.0, 1)


# Loading


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("package.json", None),
        ("package.json", b"{}"),
        ("package.json", b"[1"),
        ("model.json", b"{}"),
        ("vocabulary/tokens.tsv", None),
        ("model.keras", None),
        ("model.keras", b"not a model"),
    ],
)
def test_a_broken_package_is_one_line(
    folders: dict[str, Path], tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = shutil.copytree(folders[PLAY], tmp_path / "broken")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(FolioError, match="not a complete model package") as caught:
        Predictor.load(folder)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
