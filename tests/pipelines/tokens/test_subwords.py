"""Subwords: what goes in comes out, the same files every time, and clear limits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.declaration.model_sections import TokensSpec
from pipelines.errors import DamagedError, FolioError
from pipelines.tokens import subwords
from pipelines.tokens.vocabulary import Vocabulary
from tests.conftest import MIRROR, needs_mirror
from tests.pipelines.tokens.test_stage import run

PLACES = ("東京", "京都", "大阪", "港", "山の上の村", "New York")
THINGS = ("図書館", "駅", "古い橋", "ラーメン屋", "小さな天文台 「星」")
# Made for this test: two lines a document, blanks of both widths, Latin letters, figures.
TEXTS = [
    f"{place}には{thing}が{number}つある。\n　{thing}は  {place}の西、{number * 3}kmにある。"
    for place in PLACES
    for thing in THINGS
    for number in range(1, 9)
]
ALPHABET = sorted(set("".join(TEXTS)))
SPEC = TokensSpec(kind="subword", max_size=90, begin="<s>", end="</s>")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vocabulary, dict, dict]:
    return run(
        tmp_path_factory.mktemp("subwords"), SPEC, train=TEXTS, test=["港には猫がいる。", TEXTS[0]]
    )


@given(st.text(ALPHABET, max_size=60))
def test_text_comes_back_as_it_was(built: tuple, text: str) -> None:
    vocabulary = built[0]
    ids = vocabulary.encode(text)
    assert vocabulary.unknown_id not in ids and vocabulary.decode(ids) == text


def test_ids_are_the_notebooks(built: tuple) -> None:
    vocabulary, rows, counts = built
    assert vocabulary.tokens[:4] == ("<unknown>", "<s>", "</s>", "<pad>")
    assert vocabulary.size == counts["vocabulary"] == 90
    assert (vocabulary.unknown_id, vocabulary.begin_id, vocabulary.end_id, vocabulary.pad_id) == (
        0,
        1,
        2,
        3,
    )
    assert vocabulary.never_drawn == (0, 1, 3)
    first = rows["train"]["tokens"][0].as_py()
    assert first[0] == 1 and first[-1] == 2 and vocabulary.decode(np.array(first)) == TEXTS[0]
    assert first[1:-1] == vocabulary.encode(TEXTS[0]).tolist()


def test_counts_are_those_of_train(built: tuple) -> None:
    vocabulary, rows, counts = built
    ids = np.concatenate([rows["train"]["tokens"].to_numpy()[i] for i in range(len(TEXTS))])
    assert vocabulary.counts == tuple(np.bincount(ids, minlength=90).tolist())
    assert sum(vocabulary.counts) == counts["train"]["tokens"] > len(TEXTS) * 10
    assert vocabulary.counts[1] == vocabulary.counts[2] == len(TEXTS)


def test_pieces_are_learned_from_train_alone(built: tuple) -> None:
    vocabulary, rows, counts = built
    assert "猫" not in "".join(vocabulary.tokens)
    assert vocabulary.unknown_in("港に猫🐈、いる猫") == ["猫", "🐈"]
    assert counts["test"]["unknown"] == 1
    assert vocabulary.decode(rows["test"]["tokens"].to_numpy()[0]) == ("港には<unknown>がいる。")
    assert counts["test"]["characters"] == len("港には猫がいる。") + len(TEXTS[0])


def test_without_markers_none_are_drawn_or_put(tmp_path: Path) -> None:
    vocabulary, rows, _ = run(tmp_path, TokensSpec(kind="subword", max_size=90), train=TEXTS)
    assert vocabulary.begin_id is vocabulary.end_id is None
    assert vocabulary.never_drawn == (0, 1, 2, 3)
    assert not {1, 2} & set(rows["train"]["tokens"].to_numpy()[0].tolist())


def test_text_that_looks_like_a_marker_is_text(built: tuple) -> None:
    assert not {1, 2} & set(built[0].encode("<s>東京</s><pad>").tolist())
    assert built[0].unknown_in("<s>") == ["<", "s", ">"]


def test_lower_case(tmp_path: Path) -> None:
    spec = TokensSpec(kind="subword", max_size=90, lower=True)
    vocabulary, _, _ = run(tmp_path, spec, train=TEXTS)
    assert vocabulary.decode(vocabulary.encode("New York")) == "new york"
    assert vocabulary.unknown_in("NEW") == []


def test_the_same_text_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run(tmp_path / name, SPEC, train=TEXTS, test=TEXTS[:3])
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a/out").rglob("*.*"))
    assert [file.name for file in files] == [
        "test-0000.parquet",
        "train-0000.parquet",
        "settings.json",
        "subwords.model",
        "tokens.tsv",
    ]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def train(texts: list[str], size: int) -> Vocabulary:
    stride = subwords.stride_of(sum(map(len, texts)))
    lines = list(subwords.sampled(texts, stride, False))
    model = subwords.learned(lines, any("\n" in text for text in texts), size, None, None)
    pieces = subwords.pieces(subwords.load(model))
    return Vocabulary(
        "subword", False, pieces, (0,) * len(pieces), pad_id=3, unknown_id=0, model=model
    )


def test_the_largest_possible_size_is_named_and_works() -> None:
    with pytest.raises(FolioError, match=r"tokens.max_size 90000.*at most.*or less") as caught:
        train(TEXTS, 90_000)
    assert "\n" not in str(caught.value) and "trainer_interface" not in str(caught.value)
    most = int(str(caught.value).split("the train text has at most ")[1].split()[0])
    assert train(TEXTS, most).size == most
    with pytest.raises(FolioError, match=f"set tokens.max_size to {most} or less"):
        train(TEXTS, most + 1)


def test_too_small_a_size_is_named() -> None:
    with pytest.raises(
        FolioError, match=r"max_size 20: .* characters of the train text alone make \d\d subwords"
    ):
        train(TEXTS, 20)
    with pytest.raises(FolioError, match="cannot learn 3 subwords"):
        train(TEXTS, 3)


@pytest.mark.parametrize(
    ("begin", "end", "message"),
    [
        ("|", "|", r"'\|' is already used"),
        (None, "<pad>", "'<pad>' is already used"),
        (None, "の", "tokens.end 'の': occurs in the train text.*such as '<end>'"),
    ],
)
def test_a_marker_that_cannot_be_one_is_refused(begin: str | None, end: str, message: str) -> None:
    with pytest.raises(FolioError, match=message):
        subwords.learned(TEXTS, False, 90, begin, end)


@pytest.mark.parametrize("texts", [[], [""], ["\n\n", "\0"]])
def test_no_text_is_said(texts: list[str]) -> None:
    with pytest.raises(FolioError, match="no text to learn subwords from"):
        train(texts, 100)


def test_nothing_that_sentencepiece_skips_is_lost() -> None:
    # It leaves out sentences that are long, or have NUL or its own sign for unknown.
    odd = ["tab\tq\0w", "▅xz"] * 20 + ["jv" * 600]
    vocabulary = train([*TEXTS, *odd], 90)
    assert vocabulary.unknown_in("tabqwxzjv\t") == []
    assert vocabulary.unknown_in("▅\0") == ["▅", "\0"]


def test_a_large_text_is_sampled_from_end_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{'北' if i % 2 else '南'}の{i % 10}番" for i in range(200)]  # 4 characters each
    assert train(texts, 20).unknown_in("北南") == []
    monkeypatch.setattr(subwords, "SAMPLE_CHARACTERS", 400)
    assert train(texts, 13).unknown_in("北南") == ["北"]  # each second line was read
    assert list(subwords.sampled(texts, 50, False)) == texts[::50]


def test_a_damaged_model_file_is_said(tmp_path: Path) -> None:
    vocabulary = train(TEXTS, 90)
    vocabulary.save(tmp_path)
    assert Vocabulary.load(tmp_path) == vocabulary
    assert json.loads((tmp_path / "settings.json").read_text())["pad_id"] == 3
    (tmp_path / "subwords.model").write_bytes(b"not a model")
    with pytest.raises(DamagedError, match=r"subwords\.model is not a SentencePiece model"):
        Vocabulary.load(tmp_path)


@pytest.mark.slow
@needs_mirror
def test_real_japanese_comes_back(tmp_path: Path) -> None:
    lines = (MIRROR / "jawiki_sample.txt").read_text(encoding="utf-8").splitlines()
    vocabulary, rows, counts = run(
        tmp_path, SPEC.model_copy(update={"max_size": 8000}), train=lines[:2200], test=lines[2200:]
    )
    assert vocabulary.size == 8000
    for split, texts in (("train", lines[:2200]), ("test", lines[2200:])):
        coded = [np.array(ids) for ids in rows[split]["tokens"].to_pylist()]
        whole = [
            (vocabulary.decode(ids), text)
            for ids, text in zip(coded, texts, strict=True)
            if vocabulary.unknown_id not in ids
        ]
        assert all(back == text for back, text in whole) and len(whole) > 0.6 * len(texts)
        assert counts[split]["unknown"] < 0.006 * counts[split]["tokens"]
        assert counts[split]["characters"] > 1.5 * counts[split]["tokens"]
