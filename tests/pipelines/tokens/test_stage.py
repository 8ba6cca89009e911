from __future__ import annotations

import re
import string
import sys
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.declaration.model_sections import TokensSpec
from pipelines.errors import FolioError
from pipelines.store.artifacts import Workspace
from pipelines.tokens import stage as tokens
from pipelines.tokens.vocabulary import UNKNOWN_ID, Vocabulary
from pipelines.tokens.words import split_words
from tests.conftest import artifact_in


def documents(folder: Path, **splits: list[str]) -> dict:
    (folder / "documents").mkdir(parents=True)
    for split, texts in splits.items():
        pq.write_table(
            pa.table(
                {
                    "id": [f"{split}/{i}" for i in range(len(texts))],
                    "split": [split] * len(texts),
                    "text": texts,
                    "label": pa.array([float(i % 2) for i in range(len(texts))], pa.float32()),
                }
            ),
            folder / "documents" / f"{split}-0000.parquet",
        )
    return {"corpus": artifact_in(folder)}


def run(tmp_path: Path, spec: TokensSpec, **splits: list[str]) -> tuple[Vocabulary, dict, dict]:
    inputs = documents(tmp_path / "corpus", **splits)
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir(), scratch.mkdir()
    counts = tokens.build(inputs, {"tokens": spec}, Workspace(out, scratch, tmp_path))
    rows = {
        path.name.split("-")[0]: pq.read_table(path)
        for path in sorted((out / "tokens").glob("*.parquet"))
    }
    return Vocabulary.load(out / "vocabulary"), rows, counts


def test_words_are_learned_from_train_alone(tmp_path: Path) -> None:
    vocabulary, rows, counts = run(
        tmp_path,
        TokensSpec(kind="word"),
        train=["the cat, the CAT", "the dog's"],
        test=["the bird"],
    )
    assert vocabulary.tokens == ("<pad>", "<unknown>", "the", "CAT", "cat", "dog", "s")
    assert vocabulary.counts == (0, 0, 3, 1, 1, 1, 1)
    assert rows["train"]["tokens"].to_pylist() == [[2, 4, 2, 3], [2, 5, 6]]
    assert rows["test"]["tokens"].to_pylist() == [[2, UNKNOWN_ID]]
    assert counts["test"]["unknown"] == 1 and counts["vocabulary"] == 7


def test_min_count_max_size_lower_and_cuts(tmp_path: Path) -> None:
    spec = TokensSpec(kind="word", lower=True, min_count=2, max_size=3, max_tokens=2, keep="last")
    vocabulary, rows, counts = run(tmp_path, spec, train=["A a a B b c", "b"], test=["x a"])
    assert vocabulary.tokens == ("<pad>", "<unknown>", "a")
    assert vocabulary.counts == (0, 4, 3)  # three b and a c have become unknown
    assert rows["train"]["tokens"].to_pylist() == [[1, 1], [1]]
    assert rows["train"]["truncated"].to_pylist() == [4, 0]
    assert rows["test"]["tokens"].to_pylist() == [[1, 2]]
    assert counts["train"]["truncated_tokens"] == 4


def test_keep_first(tmp_path: Path) -> None:
    spec = TokensSpec(kind="word", max_tokens=2, keep="first")
    _, rows, _ = run(tmp_path, spec, train=["b a a"])
    assert rows["train"]["tokens"].to_pylist() == [[3, 2]]


def test_a_text_without_words_stays_a_document(tmp_path: Path) -> None:
    _, rows, counts = run(tmp_path, TokensSpec(kind="word"), train=["a b"], test=["!!! …", "a"])
    assert rows["test"]["tokens"].to_pylist() == [[UNKNOWN_ID], [2]]
    assert counts["test"]["documents"] == 2


def test_characters(tmp_path: Path) -> None:
    vocabulary, rows, _ = run(tmp_path, TokensSpec(kind="char"), train=["bab\n\t"], test=["ac😀"])
    assert vocabulary.tokens == ("<pad>", "<unknown>", "\t", "\n", "a", "b")
    assert rows["train"]["tokens"].to_pylist() == [[5, 4, 5, 3, 2]]
    assert rows["test"]["tokens"].to_pylist() == [[4, UNKNOWN_ID, UNKNOWN_ID]]
    assert vocabulary.decode(vocabulary.encode("bab\n\t")) == "bab\n\t"
    assert vocabulary.unknown_in("a😀cc") == ["😀", "c"]


# Only letters


def letters(text: str, lower: bool) -> list[str]:
    """The notebook's words, in plain Python."""
    kept = [" " if c.isspace() else c for c in (text.lower() if lower else text)]
    allowed = set(string.ascii_letters + "'- ")
    words = "".join(c for c in kept if c in allowed).split(" ")
    return [word for word in words if word and not word.startswith("-")]


@given(st.lists(st.text(st.sampled_from("aZéſ K'’-— \n\t.,1_\"")), max_size=4), st.booleans())
def test_letters_alone_are_words(texts: list[str], lower: bool) -> None:
    ours = split_words(pl.Series(texts, dtype=pl.String), lower, "letters").to_list()
    assert ours == [letters(text, lower) for text in texts]


def test_punctuation_is_words_of_its_own() -> None:
    texts = ["Don't stop: it’s 10/10!", "rock 'n' roll", "", "नमस्ते, e\u0301te\u0301"]
    assert split_words(pl.Series(texts), True, "punctuation").to_list() == [
        ["don't", "stop", ":", "it’s", "10", "/", "10", "!"],
        ["rock", "'", "n", "'", "roll"],
        [],
        ["नमस्ते", ",", "e\u0301te\u0301"],
    ]


def test_the_model_reads_words_as_they_were_learned(tmp_path: Path) -> None:
    spec = TokensSpec(kind="word", words="letters", lower=True, min_count=2)
    vocabulary, rows, _ = run(
        tmp_path,
        spec,
        train=["\"It's well-known,\" said the\nCaptain -- and -so- 12 the captain's; it’s IT'S"],
    )
    assert vocabulary.tokens == ("<pad>", "<unknown>", "it's", "the")
    coded = rows["train"]["tokens"][0].as_py()
    assert coded == [2, 1, 1, 3, 1, 1, 3, 1, 1, 2]
    assert vocabulary.encode("It's THE\ncaptain").tolist() == [2, 3, 1]
    assert vocabulary.unknown_in("the Captain -x 99 captain!") == ["captain"]
    loaded = Vocabulary.load(tmp_path / "out" / "vocabulary")
    assert loaded.encode("a-the -the the").tolist() == [1, 3]


# Markers


def test_a_marker_ends_each_speech(tmp_path: Path) -> None:
    spec = TokensSpec(kind="char", end="*", min_count=2)
    vocabulary, rows, counts = run(tmp_path, spec, train=["bba", "ab"], test=["b*c", ""])
    assert vocabulary.tokens == ("<pad>", "<unknown>", "*", "a", "b")
    assert vocabulary.counts == (0, 0, 2, 2, 3)
    assert rows["train"]["tokens"].to_pylist() == [[4, 4, 3, 2], [3, 4, 2]]
    assert rows["train"]["length"].to_pylist() == [4, 3]
    assert rows["train"]["characters"].to_pylist() == [3, 2]  # the text's own
    assert rows["test"]["tokens"].to_pylist() == [[4, 1, 1, 2], [2]]  # its own * is no end
    assert counts["train"] | {"tokens": 7, "characters": 5} == counts["train"]
    assert vocabulary.begin_id is None and vocabulary.end_id == 2
    assert vocabulary.never_drawn == (0, 1)
    assert vocabulary.decode(np.array([4, 3, 2, 0])) == "ba"
    assert vocabulary.encode("a*").tolist() == [3, 1] and vocabulary.unknown_in("a*") == ["*"]


@pytest.mark.parametrize("kind", ["char", "word"])
def test_markers_around_documents_of_any_kind(tmp_path: Path, kind: str) -> None:
    spec = TokensSpec(kind=kind, begin="<s>", end="</s>", min_count=2, max_size=7)
    vocabulary, rows, _ = run(tmp_path, spec, train=["a b a b", "s", ""], test=["b"])
    assert vocabulary.tokens[:4] == ("<pad>", "<unknown>", "<s>", "</s>")
    assert vocabulary.counts[2:4] == (3, 3) and vocabulary.size == (7 if kind == "char" else 6)
    assert vocabulary.never_drawn == (0, 1, 2)
    for row, text in zip(rows["train"]["tokens"].to_pylist(), ["a b a b", "s", ""], strict=True):
        assert row == [2, *vocabulary.encode(text).tolist(), 3]
    assert vocabulary.decode(np.array(rows["train"]["tokens"][0].as_py())) == "a b a b"


def test_a_cut_document_has_lost_the_marker_of_that_side(tmp_path: Path) -> None:
    for keep, wanted in (("first", [2, 4, 4]), ("last", [4, 4, 3])):
        spec = TokensSpec(kind="char", begin="^", end="$", max_tokens=3, keep=keep)
        _, rows, _ = run(tmp_path / keep, spec, train=["aaaa"], test=["a"])
        assert rows["train"]["tokens"].to_pylist() == [wanted]
        assert rows["train"]["truncated"].to_pylist() == [3]
        assert rows["test"]["tokens"].to_pylist() == [[2, 4, 3]]


@pytest.mark.parametrize(
    ("kind", "end", "message"),
    [
        ("char", "*", r"tokens.end '\*': the train text contains it 2 times.*such as '<end>'"),
        ("word", "fin", "tokens.end 'fin': the train text contains it 1 times"),
        ("word", "<pad>", "tokens.end '<pad>': every vocabulary has this token"),
    ],
)
def test_a_marker_that_text_has_is_refused(
    tmp_path: Path, kind: str, end: str, message: str
) -> None:
    with pytest.raises(FolioError, match=message):
        run(tmp_path, TokensSpec(kind=kind, end=end), train=["a *b* fin", "b"])


def test_one_marker_may_do_both(tmp_path: Path) -> None:
    vocabulary, rows, _ = run(tmp_path, TokensSpec(kind="char", begin="|", end="|"), train=["ab"])
    assert rows["train"]["tokens"].to_pylist() == [[2, 3, 4, 2]]
    assert vocabulary.counts == (0, 0, 2, 1, 1) and vocabulary.never_drawn == (0, 1)


def test_no_token_left_is_said(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match="min_count"):
        run(tmp_path, TokensSpec(kind="word", min_count=9), train=["a b a"])


@given(st.lists(st.text(max_size=40), max_size=5))
def test_the_split_is_that_of_the_tfds_tokenizer(texts: list[str]) -> None:
    known = [t for t in texts if all(unicodedata.category(c) != "Cn" for c in t)]
    ours = split_words(pl.Series(known, dtype=pl.String), lower=False, marks=False).to_list()
    assert ours == [[w for w in re.split(r"\W+", text) if w] for text in known]


def test_every_assigned_letter_and_digit_is_part_of_a_word() -> None:
    points = [
        chr(i)
        for i in range(sys.maxunicode + 1)
        if unicodedata.category(chr(i)) not in ("Cs", "Cn")
    ]
    ours = split_words(pl.Series(points, dtype=pl.String), lower=False).list.len().to_list()
    wrong = [
        c
        for c, words in zip(points, ours, strict=True)
        if bool(words) != bool(re.fullmatch(r"\w", c))
    ]
    assert wrong == []


@given(st.text(alphabet='abc\n"\\\té語😀', min_size=1))
def test_a_vocabulary_survives_its_files(text: str) -> None:
    import tempfile

    counts = Counter(text)
    known = sorted(counts)
    vocabulary = Vocabulary(
        "char", False, ("<pad>", "<unknown>", *known), (0, 0, *(counts[c] for c in known))
    )
    with tempfile.TemporaryDirectory() as folder:
        vocabulary.save(Path(folder))
        loaded = Vocabulary.load(Path(folder))
    assert loaded == vocabulary
    assert loaded.decode(loaded.encode(text)) == text


def test_wide_vocabularies_use_32_bits() -> None:
    words = [f"w{i:05}" for i in range(70_000)]
    vocabulary = Vocabulary("word", False, ("<pad>", "<unknown>", *words), (1,) * 70_002)
    ids = vocabulary.encode("w69999 w00000 nothing")
    assert ids.dtype == np.int32 and ids.tolist() == [70_001, 2, UNKNOWN_ID]


def test_the_same_text_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = [f"word{i % 7} other{i % 3} common" for i in range(50)]
    for name in ("a", "b"):
        run(tmp_path / name, TokensSpec(kind="word"), train=texts, test=texts[:5])
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a/out").rglob("*.*"))
    assert len(files) == 4
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def marked(text: str) -> list[str]:
    """The words of a text, in plain Python."""
    found, inside = [""], False
    for character in text:
        category = unicodedata.category(character)
        begins = category[0] in "LN" or character == "_"
        inside = begins or (inside and (category[0] == "M" or character in "\u200c\u200d"))
        found[-1:] = [found[-1] + character] if inside else [found[-1], ""]
    return [word for word in found if word]


@given(st.lists(st.text(st.sampled_from("aé1_ .-\u0301\u093f\u0e34\u200d\u200cकनไทİ❤\ufe0f\n"))))
def test_marks_belong_to_their_letter(texts: list[str]) -> None:
    ours = split_words(pl.Series(texts, dtype=pl.String), lower=False).to_list()
    assert ours == [marked(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("दिन और दीन", ["दिन", "और", "दीन"]),  # Hindi: two words that differ in a vowel sign
        ("كِتَاب، كُتُب", ["كِتَاب", "كُتُب"]),  # Arabic with vowels
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("ที่นี่ วันนี้", ["ที่นี่", "วันนี้"]),
        ("cafe\u0301s", ["cafe\u0301s"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),  # Persian: one word with a joiner
        ("İstanbul istanbul I", ["istanbul", "istanbul", "i"]),
        ("❤\ufe0f ok", ["ok"]),
    ],
)
def test_words_of_many_scripts(text: str, words: list[str], tmp_path: Path) -> None:
    spec = TokensSpec(kind="word", lower=True)
    vocabulary, rows, _ = run(tmp_path, spec, train=[text])
    assert set(vocabulary.tokens[2:]) == set(words)
    coded = rows["train"]["tokens"].to_pylist()[0]
    assert [vocabulary.tokens[i] for i in coded] == words
    assert vocabulary.encode(text).tolist() == coded
    assert vocabulary.unknown_in(text + " x\u0301") == ["x\u0301"]


def test_without_marks_the_vocabulary_is_that_of_earlier_versions(tmp_path: Path) -> None:
    spec = TokensSpec(kind="word", lower=True)
    plain, *_ = run(tmp_path / "plain", spec, train=["cat \u00e9t\u00e9"], test=["e\u0301te\u0301"])
    assert not plain.marks
    assert "marks" not in (tmp_path / "plain/out/vocabulary/settings.json").read_text()
    for name, text in (("accent", "x\u0301"), ("joiner", "a\u200cb"), ("turkish", "İyi")):
        assert run(tmp_path / name, spec, train=["cat", text])[0].marks
    assert not run(tmp_path / "c", TokensSpec(kind="char"), train=["x\u0301"])[0].marks


def test_vocabularies_of_earlier_versions_cut_words_at_marks(tmp_path: Path) -> None:
    """Models that were trained with them must get the tokens that they know."""
    tokens = ("<pad>", "<unknown>", "द", "न", "cafe", "i", "stanbul")
    Vocabulary("word", True, tokens, (1,) * 7).save(tmp_path)
    assert "marks" not in (tmp_path / "settings.json").read_text()
    earlier = Vocabulary.load(tmp_path)
    assert earlier.encode("दिन दीन cafe\u0301 İstanbul").tolist() == [2, 3, 2, 3, 4, 5, 6]
    replace(earlier, marks=True).save(tmp_path)
    assert Vocabulary.load(tmp_path).encode("दिन").tolist() == [UNKNOWN_ID]


@pytest.mark.parametrize(
    ("text", "notices"),
    [
        ("吾輩は猫である。名前はまだ無い。", 1),
        ("ภาษาไทย ไม่มีช่องว่าง", 1),
        ("한국어 낱말 東京", 0),
        ("plain", 0),
    ],
)
def test_a_script_without_blanks_is_named(text: str, notices: int, tmp_path: Path) -> None:
    _, _, counts = run(tmp_path, TokensSpec(kind="word"), train=[text])
    assert len(counts.get("notices", [])) == notices
    for notice in counts.get("notices", []):
        assert "tokens.kind subword" in notice
