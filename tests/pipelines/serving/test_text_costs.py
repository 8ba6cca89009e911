"""What a text costs a language model: what its report counts, however it is batched."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import UsageError
from pipelines.scoring.score_file import RegisteredModel, score_file
from pipelines.scoring.score_order import Order
from pipelines.serving import text_costs
from pipelines.serving.networks import numpy_network
from pipelines.serving.package import Cut, Package
from pipelines.serving.predictor import NUMPY, Predictor
from pipelines.serving.registered import load_champion
from pipelines.serving.text_costs import Cost, TextCosts, coded
from pipelines.store.settings import Settings
from tests.conftest import artifact_of, held_out

pytestmark = pytest.mark.slow

PLAY, WORDS, JAPANESE = "tiny-play", "tiny-words", "tiny-japanese"
TEXTS = {
    PLAY: [
        "MARIAN: Good morrow.",
        "",
        "a",
        None,
        "Who goes there? " * 90,
        "ab",
        3,
        "\n\nROBIN:\nNo.",
    ],
    WORDS: ["some of them looks like", "", "a, b", None, "the end of it all " * 200, "!!!", 3, "x"],
    JAPANESE: ["東京は日本の首都。", "", "京", None, "大学の歴史は長い。" * 90, "。", 3, "\n市\n"],
}
ADDED = ["bits_per_character", "tokens", "characters", "error"]


@pytest.fixture(params=[PLAY, WORDS, JAPANESE])
def name(request: pytest.FixtureRequest) -> str:
    """Characters in a lane, words in windows, subwords in documents."""
    return request.param


@pytest.fixture
def home(name: str, trained: Settings, writers: Settings) -> Settings:
    return trained if name == PLAY else writers


def costs(home: Settings, name: str, backend: str | None = None) -> TextCosts:
    return TextCosts(Predictor.load(load_champion(home.home, name), backend))


def measured(home: Settings, name: str) -> dict[str, Any]:
    return json.loads((artifact_of(home, name, "metrics").path / "metrics.json").read_bytes())


def whole_test_text(home: Settings, name: str, layout: str) -> list[str]:
    """As the metrics stage reads it: running text is one text."""
    texts = held_out(home, name)
    return ["".join(texts)] if layout == "lanes" else texts


def assert_as_measured(found: list[Cost | str], report: dict[str, Any]) -> None:
    whole = [one for one in found if isinstance(one, Cost)]
    nats, characters = sum(one.nats for one in whole), sum(one.characters for one in whole)
    assert sum(one.tokens for one in whole) == report["sums"]["tokens"]
    assert nats == pytest.approx(report["sums"]["nats"], rel=1e-5)
    assert characters == pytest.approx(report["sums"]["characters"], rel=2e-3)
    bits = nats / math.log(2) / characters
    assert bits == pytest.approx(report["headline"]["bits_per_character"], rel=2e-3)


@pytest.mark.parametrize("backend", [NUMPY, "tensorflow"])
def test_the_test_text_costs_what_the_report_says(home: Settings, name: str, backend: str) -> None:
    asked = costs(home, name, backend)
    report = measured(home, name)
    texts = whole_test_text(home, name, report["layout"])
    assert_as_measured(asked.of(texts), report)


def test_each_text_is_read_on_its_own(
    home: Settings, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is read beside, and in however many parts."""
    asked = costs(home, name, NUMPY)
    together = asked.of(TEXTS[name])
    monkeypatch.setattr(text_costs, "CHUNK", 7)
    monkeypatch.setattr(text_costs, "MAX_ROWS", 3)
    parts = asked.of(TEXTS[name])
    alone = [asked.of([text])[0] for text in TEXTS[name]]
    keras = costs(home, name, "tensorflow").of(TEXTS[name])
    for one, *others in zip(together, parts, alone, keras, strict=True):
        for other in others:
            if isinstance(one, str):
                assert one == other
            else:
                assert isinstance(other, Cost) and other.nats == pytest.approx(one.nats, rel=1e-5)
                assert (one.tokens, one.characters) == (other.tokens, other.characters)
    assert together[1] == "the text is empty" and together[3] == "there is no text"
    assert together[6] == "not a text but int"
    assert isinstance(together[0], Cost) and isinstance(together[4], Cost)


def test_too_short_a_text_says_how_much_is_needed(trained: Settings, writers: Settings) -> None:
    assert costs(trained, PLAY, NUMPY).of(["a", "ab"])[0] == (
        "the text is too short: the model needs 2 characters or more"
    )
    words = costs(writers, WORDS, NUMPY).of(["one two three four", "!?"])
    assert set(words) == {"the text is too short: the model needs 5 words or more"}
    assert isinstance(costs(writers, JAPANESE, NUMPY).of(["京"])[0], Cost)  # after its beginning


def test_a_line_break_is_read_as_in_training(trained: Settings) -> None:
    """Tables and labelled folders write `<br />`; the play is a text."""
    package = Package.read(load_champion(trained.home, PLAY))
    assert not package.settings.html_breaks and package.settings.text_column is None
    table = package.settings.model_copy(update={"html_breaks": True})
    network = numpy_network(package)
    of_text = TextCosts(Predictor(package, network))
    of_table = TextCosts(Predictor(replace(package, settings=table), network))
    # Each alone: beside another, a text's sums may round differently.
    written, meant = ["Who?<br />No."], ["Who?\nNo."]
    assert of_table.of(written) == of_text.of(meant) != of_text.of(written)
    reviews = Package.read(load_champion(trained.home, "tiny-reviews")).settings
    assert reviews.html_breaks and reviews.text_column == "review"


def test_a_text_is_cut_as_in_the_tokens_stage(writers: Settings) -> None:
    vocabulary = Predictor.load(load_champion(writers.home, JAPANESE), NUMPY).vocabulary
    (whole,), first, count = coded(["大学の歴史"], vocabulary, Cut(max_tokens=None, keep="last"))
    assert (whole[0], whole[-1]) == (vocabulary.begin_id, vocabulary.end_id)
    assert first.tolist() == [0] and count.tolist() == [len(whole)]
    for keep, kept in (("first", whole[:3]), ("last", whole[-3:])):
        (cut,), first, count = coded(["大学の歴史"], vocabulary, Cut(max_tokens=3, keep=keep))
        assert cut.tolist() == kept.tolist() and count.tolist() == [len(whole)]
        assert first[0] == (0 if keep == "first" else len(whole) - 3)


# Files


def scored(model: RegisteredModel, file: Path, **options: Any) -> tuple[dict, list[dict]]:
    order = Order(file, file.parent / "scored.parquet", force=True, **options)
    summary = score_file(model, order)
    assert summary == json.loads(order.summary.read_bytes())
    return summary, pq.read_table(order.out).to_pylist()


def test_a_file_gets_the_costs_and_their_mean(home: Settings, name: str, tmp_path: Path) -> None:
    texts = [text if isinstance(text, str) else None for text in TEXTS[name]]
    pq.write_table(pa.table({"n": range(8), "text": texts}), tmp_path / "in.parquet")
    model = RegisteredModel.find(home.home, name)
    summary, rows = scored(model, tmp_path / "in.parquet")
    assert list(rows[0]) == ["n", "text", *ADDED] and [row["text"] for row in rows] == texts
    for row, one in zip(rows, costs(home, name, NUMPY).of(texts), strict=True):
        if isinstance(one, str):
            assert [row[key] for key in ADDED] == [None, None, None, one]
        else:
            given = [row[key] for key in ADDED]
            assert given == [
                pytest.approx(one.bits_per_character),
                one.tokens,
                one.characters,
                None,
            ]
    sound = [row for row in rows if row["error"] is None]
    characters = sum(row["characters"] for row in sound)
    bits = sum(row["bits_per_character"] * row["characters"] for row in sound) / characters
    assert summary["bits_per_character"] == pytest.approx(bits)
    assert summary["sums"]["tokens"] == sum(row["tokens"] for row in sound)
    assert summary["perplexity"] == pytest.approx(
        math.exp(summary["sums"]["nats"] / summary["sums"]["tokens"])
    )
    assert (summary["rows"], summary["scored"]) == (8, len(sound)) and "labels" not in summary
    assert sum(summary["errors"].values()) == 8 - len(sound)


def test_a_file_without_a_text_has_no_mean(trained: Settings, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([None, ""])}), tmp_path / "in.parquet")
    model = RegisteredModel.find(trained.home, PLAY)
    summary, _ = scored(model, tmp_path / "in.parquet")
    assert summary["bits_per_character"] is None and summary["scored"] == 0
    with pytest.raises(UsageError, match="--all: tiny-play is a language model"):
        scored(model, tmp_path / "in.parquet", every=True)


def test_text_that_was_held_out_has_not_drifted_and_another_has(
    home: Settings, name: str, tmp_path: Path
) -> None:
    """Running text has no documents whose lengths could be compared."""
    model = RegisteredModel.find(home.home, name)
    texts = (
        held_out(home, name) if name == JAPANESE else "\n".join(held_out(home, name)).split("\n\n")
    )
    pq.write_table(pa.table({"text": texts}), tmp_path / "in.parquet")
    drift = scored(model, tmp_path / "in.parquet")[0]["drift"]
    measures = ["share of unknown tokens"]
    if name == JAPANESE:
        measures = ["median length (tokens)", *measures, "median bits per token"]
    assert [one["measure"] for one in drift["measures"]] == measures
    assert drift["drifted"] == []
    strange = [" ".join("∮" + character for character in text) for text in texts]
    pq.write_table(pa.table({"text": strange}), tmp_path / "in.parquet")
    drift = scored(model, tmp_path / "in.parquet")[0]["drift"]
    assert "share of unknown tokens" in drift["drifted"]
    if name == JAPANESE:
        assert "median bits per token" in drift["drifted"]
