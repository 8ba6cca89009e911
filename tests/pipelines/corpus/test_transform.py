"""A step of the user's own: what it returns is the document, and what it drops is accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipelines.errors import FolioError
from tests.pipelines.corpus.test_stage import Built

ROWS = "text,kind,who\n" + "".join(
    f"letter {i} {'spam' if i % 3 == 0 else 'news'},{'b' if i % 4 == 1 else 'a'},w{i}\n"
    for i in range(40)
)
TABLE = {
    "reader": "csv",
    "split": "shuffled",
    "validation": 0.2,
    "test": 0.2,
    "label_column": "kind",
    "labels": ("a", "b"),
    "group": "who",
}


def built(tmp_path: Path, code: str, name: str = "out", **settings: Any) -> Built:
    (tmp_path / "mine.py").write_text(code)
    given = TABLE | {"transform": "mine:step"} | settings
    return Built(tmp_path / name, {"a.csv": ROWS}, own=tmp_path, **given)


def test_a_text_or_a_changed_document_or_none(tmp_path: Path) -> None:
    code = """
def step(document):
    number = int(document.text.split()[1])
    if "spam" in document.text:
        return None
    if number % 2:
        return document.text.upper()
    return document._replace(text=f"new {number}", label="b", group="all")
"""
    made = built(tmp_path, code)
    texts = dict(made.documents.select("id", "text").iter_rows())
    assert {"LETTER 1 NEWS", "new 2", "LETTER 37 NEWS"} <= set(texts.values())
    assert len(made.quarantine) == made.counts["quarantined"] == 14
    assert made.counts["reasons"] == {"dropped-by-transform": 14}  # far more than max_quarantined
    assert made.counts["read"] == 40 and made.counts["kept"] == 26
    assert made.quarantine["excerpt"][0] == "letter 0 spam"
    rows = made.documents.filter(pl.col("text").str.starts_with("new"))
    assert set(rows["label"]) == {1.0} and set(rows["group"]) == {"all"}
    assert len(set(rows["split"])) == 1, "a group stays in one split"


def test_what_it_returns_is_read_like_the_source(tmp_path: Path) -> None:
    code = """
def step(document):
    number = int(document.text.split()[1])
    return ["", "same", "e\\u0301", f"number {number}"][min(number, 3)]
"""
    made = built(tmp_path, code, max_quarantined=1.0, length=(1, 100))
    assert made.counts["reasons"] == {"empty": 1}
    assert "\u00e9" in made.documents["text"].to_list()


def test_labels_that_are_found_may_be_changed(tmp_path: Path) -> None:
    code = """
def step(document):
    return document._replace(label={"a": "first", "b": document.label}[document.label])
"""
    made = built(tmp_path, code, labels=None)
    assert made.counts["labels"] == ["b", "first"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 / 0", r"document 3 \(a.csv:3\): mine.py:3: ZeroDivisionError: division by zero"),
        ("document.missing", r"document 3 \(a.csv:3\): mine.py:3: AttributeError: "),
        ("5", r"document 3 \(a.csv:3\): returned int; return a text, the document with other"),
        ("document._replace(text=3)", "returned a document whose text is int; return a text"),
        ("document._replace(label='c')", "returned the label 'c', which is not in corpus.labels"),
        ("'\\ud800'", "returned a text that is not valid Unicode"),
    ],
)
def test_what_fails_names_the_document_and_the_place(tmp_path: Path, line: str, said: str) -> None:
    code = f"def step(document):\n    if ' 2 ' in document.text:\n        return {line}\n"
    code += "    return document\n"
    with pytest.raises(FolioError, match=f"^corpus.transform mine:step: .*{said}") as error:
        built(tmp_path, code)
    assert "\n" not in str(error.value)


def test_dropping_everything_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match="cannot be taken from 0 documents"):
        built(tmp_path, "def step(document): return None\n", group=None)


def test_no_more_than_one_document_is_held(tmp_path: Path) -> None:
    """It is called while the source is read, not after."""
    code = """
import itertools
seen = itertools.count(1)
def step(document):
    return f"{document.text} {next(seen)}"
"""
    made = built(tmp_path, code, group=None)
    assert sorted(int(text.split()[-1]) for text in made.documents["text"]) == list(range(1, 41))
