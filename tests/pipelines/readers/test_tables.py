from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.documents import Document, Notes
from pipelines.readers.labels import FoundLabels, in_order, value_of
from tests.pipelines.readers.test_read import documents, lay

COLUMNS = {
    "split": "hash",
    "text_column": "text",
    "label_column": "kind",
    "labels": ("ham", "spam"),
}


def read(root: Path, name: str, data: bytes | str, **settings: Any) -> tuple[list[Document], Notes]:
    reader = {"jsonl": "jsonl", "parquet": "parquet"}.get(name.rpartition(".")[2], "csv")
    return documents(lay(root, {name: data}), **{"reader": reader} | COLUMNS | settings)


def rows(found: list[Document]) -> list[tuple[str, float | None]]:
    return [(document.text, document.label) for document in found]


WANTED = [("Hello, you; there", 0.0), ("Win\tnow|é", 1.0)]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
@pytest.mark.parametrize("before", ["", "\n\n", "# from a survey\n# of 2026\n", "sep={}\n"])
def test_delimiters_encodings_and_what_stands_before_the_header(
    tmp_path: Path, mark: str, encoding: str, before: str
) -> None:
    lines = [["n", "kind", "text"], ["1", "ham", WANTED[0][0]], ["2", "spam", WANTED[1][0]]]
    text = before.format(mark) + "".join(
        mark.join(f'"{cell}"' if len(cell) > 4 else cell for cell in line) + "\n" for line in lines
    )
    bom = encoding == "utf-16-le-bom"
    data = b"\xff\xfe" + text.encode("utf-16-le") if bom else text.encode(encoding)
    found, notes = read(tmp_path, "a.csv", data)
    assert rows(found) == WANTED and [d.id for d in found] == ["a.csv:1", "a.csv:2"]
    assert notes.ignored["comments before the header"] == before.count("#")


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1252", "“naïve”"),
        ("shift_jis", "ソ表示"),
        ("euc-jp", "本を読む"),
        ("utf-16-le", "naïve"),
    ],
)
@pytest.mark.parametrize("mark", ["~", ";"])
def test_a_declared_encoding_and_delimiter(
    tmp_path: Path, encoding: str, text: str, mark: str
) -> None:
    lines = ["# a survey", f"kind{mark}text", f"ham{mark}{text}", f"spam{mark},{text}"]
    data = "\r\n".join(lines).encode(encoding)
    settings = {"encoding": encoding, "delimiter": mark}
    assert rows(read(tmp_path, "a.csv", data, **settings)[0]) == [(text, 0.0), (f",{text}", 1.0)]
    row = json.dumps({"kind": "ham", "text": text}, ensure_ascii=False).encode(encoding)
    assert rows(read(tmp_path / "j", "a.jsonl", row, encoding=encoding)[0]) == [(text, 0.0)]


def test_text_that_is_not_in_the_declared_encoding(tmp_path: Path) -> None:
    data = "text,kind\n本,ham\n".encode("euc-jp") + b"x\xff,ham\n"
    found = read(tmp_path, "a.csv", data, encoding="euc-jp")[0]
    assert [(d.reason, d.text[:1]) for d in found] == [(None, "本"), ("not-euc_jp", "x")]
    assert found == read(tmp_path / "b", "a.csv", data, encoding="EUC-JP")[0]
    with pytest.raises(FolioError, match=r"a\.csv: not valid ISO2022_JP"):
        read(tmp_path, "a.csv", b"text,kind\nx\x1b$B!,ham\n", encoding="iso-2022-jp")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"encoding": "klingon"}, "unknown encoding 'klingon'; write one such as cp1252"),
        ({"encoding": "punycode"}, "unknown encoding 'punycode'"),
        ({"encoding": "cp1252", "reader": "parquet"}, "knows the encoding of its texts"),
        ({"delimiter": "::"}, "give one character"),
        ({"delimiter": '"'}, "give one character"),
        ({"delimiter": ";", "reader": "jsonl"}, "delimiter is for reader csv, not for jsonl"),
    ],
)
def test_encodings_and_delimiters_that_cannot_be(settings: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CorpusSpec(**{"reader": "csv"} | COLUMNS | settings)


def test_a_header_may_begin_with_a_hash(tmp_path: Path) -> None:
    assert rows(read(tmp_path, "a.csv", "#n,text,kind\n1,x,ham\n")[0]) == [("x", 0.0)]


def test_errors_name_the_line_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match="row at line 5 has 3 fields, the first row 2"):
        read(tmp_path, "a.csv", "# a\n\ntext;kind\nx;ham\nx;ham;1\n")
    with pytest.raises(FolioError, match=r"a\.csv: not valid UTF-16"):
        read(tmp_path, "a.csv", "text,kind\nx,ham\n".encode("utf-16") + b"\x00")
    with pytest.raises(FolioError, match="not text in UTF-8"):
        read(tmp_path, "a.csv", "text,kind\nx,ham\n".encode("utf-16-le"))


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_names_and_labels_are_compared_composed(tmp_path: Path, name: str) -> None:
    column, label = "e\u0301tiquette", "tre\u0300s bon"
    row = {"text": "x", column: label}
    data = json.dumps(row) if name.endswith("l") else f"text,{column}\nx,{label}\n"
    settings = {"label_column": "\u00e9tiquette", "labels": ("mauvais", "tr\u00e8s bon")}
    assert rows(read(tmp_path, name, data, **settings)[0]) == [("x", 1.0)]


@pytest.mark.parametrize(
    ("label", "labels", "value"),
    [
        ("1", ("0", "1"), 1.0),
        ("1.0", ("0", "1"), 1.0),
        ("0", ("0.0", "1.0"), 0.0),
        ("True", ("false", "true"), 1.0),
        ("FALSE", ("False", "True"), 0.0),
        ("no", ("no", "yes"), 0.0),
        ("No", ("no", "yes"), None),  # words are what they are
        ("2", ("0", "1"), None),
        ("1", ("1", "1.0"), 0.0),  # as written comes first
        ("1.00", ("1", "1.0"), None),  # which of the two?
        ("", ("0", "1"), None),
        ("nan", ("nan", "1"), 0.0),
    ],
)
def test_labels(label: str, labels: tuple[str, str], value: float | None) -> None:
    assert value_of(label, labels) == value


def test_labels_that_are_not_declared_are_numbered_as_they_come() -> None:
    found = FoundLabels()
    labels = ("b", "1.0", "nan", "b", "1", "", "True", "nan", "TRUE", "NaN")
    numbers = [found.value_of(label, "a.csv:1") for label in labels]
    assert numbers == [0.0, 1.0, 2.0, 0.0, 1.0, None, 3.0, 2.0, 3.0, 4.0]
    assert found.names == ["b", "1", "nan", "TRUE", "NaN"]
    assert in_order(found.names) == ["1", "NaN", "TRUE", "b", "nan"]
    assert in_order(["10", "9", "-1", "1.5"]) == ["-1", "1.5", "9", "10"]


def test_a_column_of_texts_is_no_column_of_labels(tmp_path: Path) -> None:
    data = "text,kind\n" + "".join(f"x,kind {number}\n" for number in range(10_000))
    first = r"a\.csv:1001: 'kind 1000' is label number 1,001 of this column.* at most 1,000\."
    with pytest.raises(FolioError, match=first):
        read(tmp_path, "a.csv", data, labels=None)


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        {"text": "Hello,\n<br />you", "kind": 0, "more": {"a": [1]}},
        {"kind": True, "text": "b"},
        {"text": None, "kind": 1},
        {"text": "c", "kind": "other"},
        {"text": "half \ud83d", "kind": 1},
    ]
    data = "\n\n".join(map(json.dumps, lines))
    found, notes = read(tmp_path, "a.jsonl", data, labels=("0", "1"))
    assert [(d.id, d.text, d.label, d.reason) for d in found] == [
        ("a.jsonl:1", "Hello,\n\nyou", 0.0, None),
        ("a.jsonl:3", "b", None, "no-label"),
        ("a.jsonl:5", "", 1.0, "empty"),
        ("a.jsonl:7", "c", None, "no-label"),
        ("a.jsonl:9", "half \ufffd", None, "not-utf8"),
    ]
    assert notes.other_labels == {"true": 1, "other": 1} and notes.ignored["blank lines"] == 4
    assert rows(read(tmp_path, "b.jsonl", '{"text": "x"}', label_column=None)[0])[-1] == ("x", None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ('{"text": "x"\n', r"a\.jsonl: line 1 is not valid JSON .*write one object a line"),
        ('\n["x"]\n', "line 2 is no JSON object"),
        ('{"text": "x"}\n', "line 1: no column 'kind'"),
        ("[" * 100_000, "line 1 is not valid JSON"),
    ],
)
def test_json_lines_that_cannot_be_read(tmp_path: Path, data: str, message: str) -> None:
    with pytest.raises(FolioError, match=message) as caught:
        read(tmp_path, "a.jsonl", data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string(), pa.large_string()])
def test_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    labels = pa.array([0, 1, None]).cast(pa.float64() if kind == pa.float64() else pa.int64())
    texts = pa.array(["a", "b", "c"]).dictionary_encode()
    table = pa.table({"other": [[1]] * 3, "kind": labels.cast(kind), "text": texts})
    pq.write_table(table, tmp_path / "a.parquet")
    found, _ = documents(tmp_path, reader="parquet", **COLUMNS | {"labels": ("0", "1")})
    assert rows(found) == [("a", 0.0), ("b", 1.0), ("c", None)]
    assert [d.id for d in found] == ["a.parquet:1", "a.parquet:2", "a.parquet:3"]


def test_parquet_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match=r"a\.parquet: not a complete Parquet file"):
        read(tmp_path, "a.parquet", b"PAR1 and no more")
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "a.parquet")
    with pytest.raises(FolioError, match="no column 'kind'"):
        documents(tmp_path, reader="parquet", **COLUMNS)


@pytest.mark.parametrize(
    ("data", "reader"),
    [('{"text": "x"}\n', "jsonl"), ('[{"text": "x"}]', "jsonl"), ("PAR1", "parquet")],
)
def test_other_tables_than_csv_are_named(tmp_path: Path, data: str, reader: str) -> None:
    with pytest.raises(FolioError, match=f"use corpus.reader {reader}"):
        read(tmp_path, "a.csv", data)
