"""What is seen at a path, and what is declared for it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.declaration.load import load_spec
from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError
from pipelines.inspection.proposal import Proposal
from tests.conftest import PROJECT
from tests.pipelines.readers.test_packed import zipped
from tests.pipelines.readers.test_read import lay

PLAY = (PROJECT / "data" / "samples" / "play.txt").read_text(encoding="utf-8")
WORDS = ["salt", "bread", "goal", "team", "party", "vote", "tax", "oven", "ball", "film"]
Rows = list[dict[str, Any]]


def texts(count: int, seed: int = 1) -> list[str]:
    drawn = random.Random(seed)
    return [
        " ".join([*drawn.choices(WORDS, k=drawn.randint(4, 30)), f"no {number}"])
        for number in range(count)
    ]


def labelled(labels: Iterable[str], each: int = 40) -> Rows:
    kinds = [label for label in labels for _ in range(each)]
    pairs = zip(texts(len(kinds)), kinds, strict=True)
    return [{"id": n, "body": text, "kind": kind} for n, (text, kind) in enumerate(pairs)]


def csv_of(rows: Rows, delimiter: str = ",") -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def json_of(rows: Rows) -> str:
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def parquet_of(rows: Rows) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


def proposed(folder: Path, name: str, data: bytes | str | None = None) -> tuple[Proposal, Spec]:
    """Of a file with this content; the declaration is written beside it, and read."""
    if data is not None:
        lay(folder, {name: data})
    proposal = Proposal.of(folder / name, lambda *report: None)
    file = folder / f"{proposal.name}.yaml"
    text = proposal.text(file)
    file.write_text(text, encoding="utf-8")
    assert load_spec(str(file), "quick").training.epochs >= 1
    assert text.startswith("# yaml-language-server: $schema=") and text.endswith("\n")
    return proposal, load_spec(str(file))


TWO = labelled(["ham", "spam"])


@pytest.mark.parametrize(
    ("name", "data", "reader"),
    [
        ("mails.csv", csv_of(TWO), "csv"),
        ("mails.tsv", csv_of(TWO, "\t"), "csv"),
        ("mails.csv.gz", gzip.compress(csv_of(TWO, ";").encode()), "csv"),
        ("mails.zip", zipped({"a/mails.csv": csv_of(TWO), "__MACOSX/._x": "x"}), "csv"),
        ("mails.jsonl.gz", gzip.compress(json_of(TWO).encode()), "jsonl"),
        ("mails.json", json_of(TWO), "jsonl"),
        ("mails.parquet", parquet_of(TWO), "parquet"),
        ("mails.bin", parquet_of(TWO), "parquet"),
        ("mails", csv_of(TWO, "|"), "csv"),
    ],
)
def test_tables(tmp_path: Path, name: str, data: bytes | str, reader: str) -> None:
    proposal, spec = proposed(tmp_path, name, data)
    corpus, seen = spec.corpus, proposal.seen()
    assert spec.name == "mails" and spec.model.kind == "classifier"
    assert (corpus.reader, corpus.text_column, corpus.label_column) == (reader, "body", "kind")
    assert corpus.labels == ("ham", "spam") and seen["labels"] == {"ham": 40, "spam": 40}
    assert seen["documents"] == 80 and seen["scripts"] == {"latin": 1.0} and seen["repeats"] == 0
    assert [one["name"] for one in seen["columns"]] == ["id", "body", "kind"]
    assert seen["lengths"]["longest"] == max(len(row["body"]) for row in TWO)
    json.dumps(seen)


@pytest.mark.parametrize("count", [3, 5, 50, 51])
def test_more_labels_than_two(tmp_path: Path, count: int) -> None:
    labels = [f"kind {number:02d}" for number in range(count)]
    _, spec = proposed(tmp_path, "a.csv", csv_of(labelled(labels, 20), ";"))
    assert spec.model.kind == "classifier"
    assert spec.corpus.labels == (tuple(labels) if count <= 50 else None)


def test_many_labels_of_which_some_are_rare(tmp_path: Path) -> None:
    """Found when training, a label that occurs once would stop the run."""
    labels = [f"kind {number:02d}" for number in range(60)]
    rows = labelled(labels, 20) + labelled(["odd"], 1)
    assert proposed(tmp_path, "a.csv", csv_of(rows))[1].corpus.labels == tuple(labels)


def test_several_files_by_a_pattern(tmp_path: Path) -> None:
    half = len(TWO) // 2
    lay(tmp_path, {"My parts/a.csv": csv_of(TWO[:half]), "My parts/b.csv": csv_of(TWO[half:])})
    lay(tmp_path, {"My parts/other.txt": "x"})
    proposal, spec = proposed(tmp_path, "My parts/*.csv")
    assert proposal.seen()["documents"] == 80 and spec.name == "my-parts"
    assert spec.source.path == str(tmp_path / "My parts" / "*.csv")


def test_labels_as_they_are_written(tmp_path: Path) -> None:
    odd = ['no "way"', "yes", "[0, 1]", "a: b #", "été\u0301", "\u2028x"]
    _, spec = proposed(tmp_path, "a.csv", csv_of(labelled(odd)))
    assert spec.corpus.labels and len(spec.corpus.labels) == 6
    assert set(spec.corpus.labels) >= {'no "way"', "yes", "[0, 1]", "a: b #"}
    assert proposed(tmp_path, "b.csv", csv_of(labelled(["0", "1"])))[1].corpus.labels == ("0", "1")


def test_a_label_of_few_texts_is_left_out_and_named(tmp_path: Path) -> None:
    rows = labelled(["ham", "spam"], 60) + labelled(["odd"], 1)
    proposal, spec = proposed(tmp_path, "a.csv", csv_of(rows))
    assert spec.corpus.labels == ("ham", "spam") and proposal.rare == ["odd"]
    assert "left out, with too few texts: odd 1" in proposal.text(tmp_path / "a.yaml")


def test_which_column_is_the_label(tmp_path: Path) -> None:
    rows = [row | {"lang": "de" if row["id"] % 3 else "en", "split": "x"} for row in TWO]
    rows = [{**row, "split": "train" if row["id"] % 2 else "test"} for row in rows]
    moved = [{"split": row.pop("split"), "lang": row.pop("lang"), **row} for row in rows]
    proposal, spec = proposed(tmp_path, "a.csv", csv_of(moved))
    assert spec.corpus.label_column == "kind"  # its name says so
    assert "other columns that may be labels: lang, split" in proposal.text(tmp_path / "a.yaml")
    first = [{name: value for name, value in row.items() if name != "kind"} for row in moved]
    assert proposed(tmp_path, "b.csv", csv_of(first))[1].corpus.label_column == "lang"


@pytest.mark.parametrize("change", [lambda n: n, lambda n: "same", lambda n: f"{n // 2}"])
def test_what_is_no_label(tmp_path: Path, change: Any) -> None:
    """A number of the row, one value, values that hardly come again: never a wild guess."""
    rows = [row | {"kind": change(row["id"])} for row in TWO]
    _, spec = proposed(tmp_path, "a.csv", csv_of(rows))
    assert spec.model.kind == "language_model" and spec.corpus.label_column is None
    assert spec.batches.layout == "documents"


def test_texts_that_repeat_or_are_empty_do_not_stop_the_run(tmp_path: Path) -> None:
    rows = [*TWO, *TWO[:9], {"id": 1, "body": " ", "kind": "ham"}]
    proposal, spec = proposed(tmp_path, "a.csv", csv_of(rows))
    assert 10 / 90 < spec.corpus.max_quarantined <= 10 / 90 + 0.02
    text = proposal.text(tmp_path / "a.yaml")
    assert "11.1% of the texts cannot be used: duplicate 9, empty 1" in text
    assert proposal.seen()["repeats"] == 9 and proposal.seen()["unusable"] == {"empty": 1}


@pytest.mark.parametrize(
    ("encoding", "sentence"),
    [
        ("cp1252", "Señor, naïve façade – “déjà vu” costs 5 €. "),
        ("shift_jis", "富士山は山梨県と静岡県にまたがる火山です。ソフト表示。"),
        ("euc_jp", "富士山は山梨県と静岡県にまたがる火山です。"),
        ("cp1252", "Grüße aus München, schöne Straße. "),
        ("koi8-r", "Привет, как дела сегодня? "),
        ("cp1250", "Zażółć gęślą jaźń, proszę pana. Świat jest piękny. "),
        ("gb18030", "春天来了，花都开了。我们去公园。"),
        ("cp1251", "Однажды весною, в час небывало жаркого заката, в Москве. "),
        ("utf-16", "naïve "),
        ("utf-8-sig", "naïve "),
    ],
)
def test_encodings(tmp_path: Path, encoding: str, sentence: str) -> None:
    proposal, spec = proposed(tmp_path, "a.txt", (sentence * 200).encode(encoding))
    found = None if encoding.startswith("utf") else encoding
    assert spec.corpus.encoding == found and proposal.survey.first.startswith(sentence[:20])
    assert not proposal.survey.reasons


def test_a_damaged_character_is_no_other_encoding(tmp_path: Path) -> None:
    data = csv_of(labelled(["schön", "façade"])).encode() + b"1,\xff,schon\n"
    proposal, spec = proposed(tmp_path, "a.csv", data)
    assert spec.corpus.encoding is None and proposal.survey.reasons == {"not-utf8": 1}


def test_novels(tmp_path: Path) -> None:
    third = len(PLAY) // 3
    novels = {f"n/{number}.txt": PLAY[number * third :][:third] for number in range(3)}
    proposal, spec = proposed(tmp_path, "My Novels.zip", zipped(novels | {"n/.DS_Store": "x"}))
    assert spec.name == "my-novels" and spec.title == "My Novels"
    assert (spec.corpus.reader, spec.corpus.split) == ("files", "contiguous")
    assert (spec.tokens.kind, spec.model.kind) == ("char", "language_model")
    assert PLAY.startswith(spec.evaluation.start) and spec.evaluation.start
    assert proposal.seen()["files"] == 3
    lay(tmp_path / "folder", novels | {"notes.md": "x", "cover.jpg": b"\xff\xd8\0"})
    _, spec = proposed(tmp_path, "folder")
    assert spec.corpus.glob == "**/*.txt" and spec.source.path == str(tmp_path / "folder")
    lay(tmp_path / "marked", {"a.md": PLAY, "b.md": PLAY[::-1]})
    assert proposed(tmp_path, "marked")[1].corpus.glob == "**/*.md"


def test_one_text(tmp_path: Path) -> None:
    _, spec = proposed(tmp_path, "words.txt", PLAY)  # the name of a pipeline in the catalog
    assert spec.name == "my-words" and spec.corpus.reader == "text"
    assert proposed(tmp_path, "p.txt.gz", gzip.compress(PLAY.encode()))[1].corpus.reader == "text"


@pytest.mark.parametrize(
    ("characters", "text", "kind"),
    [
        (30_000, "Some words and more. ", "char"),
        (2_100_000, "Some words and more. ", "word"),
        (30_000, "富士山は火山です。", "char"),
        (400_000, "富士山は火山です。", "subword"),
        (400_000, "ภูเขาไฟฟูจิเป็นภูเขา", "subword"),
    ],
)
def test_what_a_token_is(tmp_path: Path, characters: int, text: str, kind: str) -> None:
    whole = text * (characters // len(text))
    assert proposed(tmp_path, "a.txt", whole)[1].tokens.kind == kind


@pytest.mark.slow
def test_ten_thousand_labels_are_none(tmp_path: Path) -> None:
    rows = [
        {"body": f"text {number} of kind {kind}", "kind": f"kind {kind}"}
        for number in range(3)
        for kind in range(10_000)
    ]
    assert proposed(tmp_path, "a.csv", csv_of(rows))[1].model.kind == "language_model"
    late = sorted(rows, key=lambda row: int(row["kind"].split()[1]) >= 1000)  # few at first
    late = [row for row in late for _ in range(7 if int(row["kind"].split()[1]) < 999 else 1)]
    assert proposed(tmp_path, "b.csv", csv_of(late))[1].model.kind == "language_model"


@pytest.mark.slow
def test_thousands_of_columns(tmp_path: Path) -> None:
    wide = {f"c{number}": number % 7 for number in range(4998)}
    rows = [{**row, **wide} for row in TWO]
    proposal, spec = proposed(tmp_path, "a.csv", csv_of(rows))
    assert (spec.corpus.text_column, spec.corpus.label_column) == ("body", "kind")
    assert len(proposal.text(tmp_path / "a.yaml")) < 5000


def test_labelled_folders(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {
        f"{part}/{label}/{number}_1.txt": f"{part} {label} {text}"
        for part in ("train", "test")
        for label in ("pos", "neg")
        for number, text in enumerate(texts(20))
    }
    for name in ("folders", "folders.zip"):
        if name.endswith("zip"):
            lay(tmp_path, {name: zipped(files)})
        else:
            lay(tmp_path / name, files)
        proposal, spec = proposed(tmp_path, name)
        assert spec.corpus.reader == "labelled-folders" and spec.corpus.split == "official"
        assert proposal.seen()["documents"] == 80 and spec.model.kind == "classifier"
        assert proposal.seen()["labels"] == {"positive": 40, "negative": 40}
        assert "found; check" not in proposal.text(tmp_path / "a.yaml")
    lay(tmp_path / "train", {name: text for name, text in files.items() if "test" not in name[:4]})
    assert proposed(tmp_path, "train")[1].corpus.split == "shuffled"  # there is no test part


def test_folders_that_are_labels(tmp_path: Path) -> None:
    files = {
        f"{topic}/{number}.txt": f"{topic} {text}"
        for topic in ("sport", "tax", "été")
        for number, text in enumerate(texts(20))
    }
    lay(tmp_path / "news", files)
    proposal, spec = proposed(tmp_path, "news")
    assert spec.corpus.reader == "labelled-folders" and spec.corpus.split == "shuffled"
    assert spec.corpus.labels == ("sport", "tax", "été") and spec.model.kind == "classifier"
    assert proposal.seen()["labels"] == {"sport": 20, "tax": 20, "été": 20}
    assert proposed(tmp_path, "b.zip", zipped(files))[1].corpus.labels == spec.corpus.labels
    lay(tmp_path / "authors", {f"{author}/{n}.txt": PLAY for author in "ab" for n in range(3)})
    assert proposed(tmp_path, "authors")[1].corpus.reader == "files"
    lay(tmp_path / "news", {"about.txt": "x" * 2000})
    assert proposed(tmp_path, "news")[1].corpus.reader == "files"


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", "", "the file is empty"),
        ("a.csv", "text,kind\n", "no rows below the column names"),
        ("a.csv", "ham,Hello\nspam,Win now\nham,See you\n", "'ham', which other rows have too"),
        ("a.json", '[{"text": "x"}]', "one JSON array; write one object a line"),
        ("a.jsonl", '{"text": 1\n', "no rows"),
        ("a.pdf", "%PDF-1.7 …", "a PDF; save its text"),
        (
            "a.xlsx",
            zipped({"[Content_Types].xml": "<x/>", "xl/x.xml": "<x/>"}),
            "an Office document",
        ),
        ("a.txt", b"\0\1\2" * 100, "not text; give CSV"),
        ("a.txt", "too short", "only 9 characters of text"),
        ("a.zip", zipped({"b.zip": zipped({"a.txt": "x"})}), "zip archive inside an archive"),
        ("a.parquet", b"PAR1 and no more", "not a complete Parquet file"),
        ("nothing.csv", None, "no such file or folder"),
    ],
)
def test_what_cannot_be_declared_is_one_line(
    tmp_path: Path, name: str, data: bytes | str | None, message: str
) -> None:
    if data is not None:
        lay(tmp_path, {name: data})
    with pytest.raises(FolioError, match=message) as caught:
        Proposal.of(tmp_path / name, lambda *report: None)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
