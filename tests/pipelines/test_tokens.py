from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import tokens
from pipelines.errors import FolioError
from pipelines.spec import TokensSpec
from pipelines.store import Workspace
from pipelines.vocabulary import UNKNOWN_ID, Vocabulary, split_words


def documents(folder: Path, **splits: list[str]) -> dict:
    (folder / "documents").mkdir(parents=True)
    for split, texts in splits.items():
        pq.write_table(pa.table({
            "id": [f"{split}/{i}" for i in range(len(texts))], "split": [split] * len(texts),
            "text": texts, "label": pa.array([float(i % 2) for i in range(len(texts))],
                                             pa.float32())}),
            folder / "documents" / f"{split}-0000.parquet")
    return {"corpus": SimpleNamespace(path=folder)}


def run(tmp_path: Path, spec: TokensSpec, **splits: list[str]) -> tuple[Vocabulary, dict, dict]:
    inputs = documents(tmp_path / "corpus", **splits)
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir(), scratch.mkdir()
    counts = tokens.build(inputs, {"tokens": spec}, Workspace(out, scratch, tmp_path))
    rows = {path.name.split("-")[0]: pq.read_table(path)
            for path in sorted((out / "tokens").glob("*.parquet"))}
    return Vocabulary.load(out / "vocabulary"), rows, counts


def test_words_are_learned_from_train_alone(tmp_path: Path) -> None:
    vocabulary, rows, counts = run(
        tmp_path, TokensSpec(kind="word"),
        train=["the cat, the CAT", "the dog's"], test=["the bird"])
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


def test_no_token_left_is_said(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match="min_count"):
        run(tmp_path, TokensSpec(kind="word", min_count=9), train=["a b a"])


@given(st.lists(st.text(max_size=40), max_size=5))
def test_the_split_is_that_of_the_tfds_tokenizer(texts: list[str]) -> None:
    known = [t for t in texts if all(unicodedata.category(c) != "Cn" for c in t)]
    ours = split_words(pl.Series(known, dtype=pl.String), lower=False).to_list()
    assert ours == [[w for w in re.split(r"\W+", text) if w] for text in known]


def test_every_assigned_letter_and_digit_is_part_of_a_word() -> None:
    points = [chr(i) for i in range(sys.maxunicode + 1)
              if unicodedata.category(chr(i)) not in ("Cs", "Cn")]
    ours = split_words(pl.Series(points, dtype=pl.String), lower=False).list.len().to_list()
    wrong = [c for c, words in zip(points, ours, strict=True)
             if bool(words) != bool(re.fullmatch(r"\w", c))]
    assert wrong == []


@given(st.text(alphabet="abc\n\"\\\té語😀", min_size=1))
def test_a_vocabulary_survives_its_files(text: str) -> None:
    import tempfile

    counts = Counter(text)
    known = sorted(counts)
    vocabulary = Vocabulary("char", False, ("<pad>", "<unknown>", *known),
                            (0, 0, *(counts[c] for c in known)))
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
