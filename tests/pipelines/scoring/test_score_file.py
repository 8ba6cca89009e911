"""Files scored by a real champion: nothing is lost, nothing crashes, memory holds a window."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import FolioError, UsageError
from pipelines.files.digests import digest_file
from pipelines.scoring import score_file as module
from pipelines.scoring import score_input
from pipelines.scoring.score_file import RegisteredModel, score_file
from pipelines.scoring.score_folder import SCORED, is_up_to_date, orders
from pipelines.scoring.score_order import Order
from pipelines.scoring.spreadsheet import harmless
from pipelines.serving import batching
from pipelines.serving.text_statistics import FILE
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, held_out

NAME = "tiny-reviews"
SAMPLE = PROJECT / "data" / "samples" / "reviews.csv"
TEXTS = ["a fine film", "dull and long " * 30, "", None, "  \n", "no words: !!!", "映画"]
ANSWERS = ["label", "probability", "positive_probability", "error"]


@pytest.fixture(scope="module")
def classifier(trained: Settings) -> RegisteredModel:
    return RegisteredModel.find(trained.home, NAME)


def parquet(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def table(path: Path, *rows: bytes) -> Path:
    path.write_bytes(b"\n".join(rows) + b"\n")
    return path


def scored(
    classifier: RegisteredModel, file: Path, out: str = "scored.parquet", **options: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The summary and the rows of the output."""
    order = Order(file, file.parent / out, **options)
    summary = score_file(classifier, order)
    assert summary == json.loads(order.summary.read_bytes())
    assert not list(file.parent.glob(".scored*"))
    return summary, pq.read_table(order.out).to_pylist() if out.endswith("parquet") else []


def test_the_answers_are_those_that_each_text_gets_alone(
    classifier: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_input, "GROUP_TEXTS", 3)  # three windows
    file = parquet(tmp_path / "in.parquet", number=pa.array(range(7), pa.int16()), text=TEXTS)
    summary, rows = scored(classifier, file)
    alone = [classifier.predictor().predict([text])[0] for text in TEXTS]
    assert [row["number"] for row in rows] == list(range(7))
    assert [row["text"] for row in rows] == TEXTS
    for row, one in zip(rows, alone, strict=True):
        assert (row["label"], row["error"]) == (one["label"], one.get("error"))
        assert row["probability"] == pytest.approx(one["probability"], abs=1e-6)
        assert row["positive_probability"] == pytest.approx(one["positive_probability"], abs=1e-6)
    assert summary["errors"] == {"the text is empty": 2, "there is no text": 1}
    assert (summary["rows"], summary["scored"], sum(summary["labels"].values())) == (7, 4, 4)
    assert (summary["model"], summary["version"]) == (NAME, 1)
    assert summary["file_sha256"] == digest_file(file)
    assert summary["out_sha256"] == digest_file(tmp_path / "scored.parquet")
    kept = pq.read_schema(tmp_path / "scored.parquet")
    assert kept.names == ["number", "text", *ANSWERS] and kept.field("number").type == pa.int16()


def test_a_csv_file_in_and_out(
    classifier: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batching, "GROUP_TEXTS", 100)
    shutil.copyfile(SAMPLE, tmp_path / "reviews.csv")
    summary, _ = scored(classifier, tmp_path / "reviews.csv", "scored.csv", column="review")
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        given = list(csv.DictReader(file))
    with (tmp_path / "scored.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(given) == summary["rows"] > 300
    assert [{name: row[name] for name in given[0]} for row in rows] == given
    right = sum(row["label"] == row["sentiment"] for row in rows)
    assert right > 0.6 * len(rows) and {row["error"] for row in rows} == {""}
    assert list(pd.read_csv(tmp_path / "scored.csv").columns) == [*given[0], *ANSWERS]


def test_what_a_csv_row_may_be(classifier: RegisteredModel, tmp_path: Path) -> None:
    file = table(
        tmp_path / "in.csv",
        b"\xef\xbb\xbfid,text",
        b'1,"fine, \nreally"',
        b"2,",
        b"",
        b"3,caf\xe9 film",
        b"4",
        b"5,\x00 nul",
        "6,映画".encode(),
    )
    summary, rows = scored(classifier, file)
    assert [(row["id"], row["text"], row["error"]) for row in rows] == [
        ("1", "fine, \nreally", None),
        ("2", "", "the text is empty"),
        ("3", "caf\ufffd film", "the text is not valid Unicode"),
        ("4", "", "the text is empty"),
        ("5", "\x00 nul", None),
        ("6", "映画", None),
    ]
    assert summary["errors"] == {"the text is empty": 2, "the text is not valid Unicode": 1}


def test_a_huge_text_is_one_row_among_others(classifier: RegisteredModel, tmp_path: Path) -> None:
    huge = "word " * 2_000_000 + "good " * 40
    for file in (
        table(tmp_path / "in.csv", b"text", b"fine", huge.encode(), b"dull"),
        parquet(tmp_path / "in.parquet", text=["fine", huge, "dull"]),
    ):
        _, rows = scored(classifier, file, force=True)
        short = classifier.predictor().predict(["good " * 40])[0]
        assert rows[1]["positive_probability"] == pytest.approx(
            short["positive_probability"], abs=1e-6
        )
        assert rows[0]["label"] and rows[2]["label"] and rows[1]["text"] == huge


def test_a_parquet_column_that_is_not_utf_8(classifier: RegisteredModel, tmp_path: Path) -> None:
    broken = pa.array([b"fine", b"caf\xe9", None], pa.binary()).view(pa.string())
    summary, _ = scored(classifier, parquet(tmp_path / "in.parquet", text=broken), "scored.csv")
    assert summary["errors"] == {"the text is not valid Unicode": 1, "there is no text": 1}


@pytest.mark.parametrize(
    "type_", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)
def test_other_types_of_text(
    classifier: RegisteredModel, tmp_path: Path, type_: pa.DataType
) -> None:
    texts = pa.array(["fine", None, "fine"]).cast(type_)
    _, rows = scored(classifier, parquet(tmp_path / "in.parquet", text=texts))
    assert [row["label"] is None for row in rows] == [False, True, False]


def test_no_rows_are_no_rows(classifier: RegisteredModel, tmp_path: Path) -> None:
    for file in (
        table(tmp_path / "in.csv", b"text"),
        parquet(tmp_path / "in.parquet", text=pa.array([], pa.string())),
    ):
        summary, rows = scored(classifier, file, force=True)
        assert rows == [] and summary["rows"] == 0 and summary["drift"]["measures"] == []


def test_which_column_is_read(classifier: RegisteredModel, tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", n=[1], review=["fine"])
    assert scored(classifier, file)[0]["column"] == "review"  # the only one with text
    file = parquet(tmp_path / "b.parquet", text=["fine"], review=["dull"], body=["long"])
    assert scored(classifier, file, force=True)[0]["column"] == "review"  # as declared
    assert scored(classifier, file, force=True, column="body")[0]["column"] == "body"
    other = parquet(tmp_path / "c.parquet", text=["fine"], review=[1], body=["long"])
    assert scored(classifier, other, force=True)[0]["column"] == "text"
    table(tmp_path / "in.csv", b"# a note", b"number;text;review", b"1;fine;dull")
    assert scored(classifier, tmp_path / "in.csv", force=True)[0]["column"] == "review"


def test_a_version_that_knows_no_column_reads_text(
    classifier: RegisteredModel, tmp_path: Path
) -> None:
    settings = classifier.package.settings.model_copy(update={"text_column": None})
    earlier = replace(classifier, package=replace(classifier.package, settings=settings))
    file = parquet(tmp_path / "b.parquet", text=["fine"], review=["dull"])
    assert scored(earlier, file)[0]["column"] == "text"
    with pytest.raises(UsageError, match=r"no column 'text'; .* \(text columns: body, review\)"):
        scored(earlier, parquet(file, body=["fine"], review=["dull"]), force=True)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ((b"id,body", b"1,a"), {}, r"no column 'text'; name the one .* \(text columns: id, body"),
        ((b"id,review", b"1,a"), {"column": "reviw"}, "no column 'reviw'; did you mean review?"),
        ((b"text,text", b"1,a"), {}, "two columns 'text'"),
        ((b"text,label", b"a,b"), {}, "already has a column 'label'; .* --prefix predicted_"),
        ((b"",), {}, "the file is empty"),
        ((b"\xff\xfet\x00e\x00x\x00t\x00,\x00b\x00", b"a"), {}, "not valid UTF-16"),
    ],
)
def test_a_wrong_csv_file_is_one_line_before_anything_is_written(
    classifier: RegisteredModel,
    tmp_path: Path,
    rows: tuple[bytes, ...],
    options: dict[str, Any],
    message: str,
) -> None:
    file = table(tmp_path / "in.csv", *rows) if any(rows) else tmp_path / "in.csv"
    file.touch()
    with pytest.raises(FolioError, match=message) as caught:
        scored(classifier, file, **options)
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"1,a,b", "the row at line 4 has 3 fields, the first row 2"),
        (b'1,"a\nb', "the row at line 4 is not valid CSV .* is a quotation mark missing"),
    ],
)
def test_a_malformed_row_leaves_no_output(
    classifier: RegisteredModel,
    tmp_path: Path,
    bad: bytes,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batching, "GROUP_TEXTS", 1)
    file = table(tmp_path / "in.csv", b"id,text", b"1,fine", b"2,dull", bad)
    with pytest.raises(FolioError, match=f"in.csv: {message}"):
        scored(classifier, file)
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("mark", [";", "\t", "|"])
@pytest.mark.parametrize("name", ["in.csv", "in.tsv"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_delimiters_are_found_as_in_training(
    classifier: RegisteredModel, tmp_path: Path, mark: str, name: str, encoding: str
) -> None:
    text = f"sep={mark}\n\nid{mark}text\n1{mark}fine, naïve\n"
    (tmp_path / name).write_bytes(text.encode(encoding))
    (found,) = scored(classifier, tmp_path / name)[1]
    assert (found["id"], found["text"], found["error"]) == ("1", "fine, naïve", None)
    (tmp_path / name).write_text(f"id{mark}body\n1{mark}fine\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"no column 'text'.*text columns: id, body"):
        scored(classifier, tmp_path / name, force=True)


def test_a_delimiter_and_an_encoding_that_are_given(
    classifier: RegisteredModel, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_bytes("id~text\n1~fine, naïve\n".encode("cp1252"))
    summary, (found,) = scored(classifier, tmp_path / "in.csv", delimiter="~", encoding="cp1252")
    assert (found["text"], found["error"]) == ("fine, naïve", None)
    assert (summary["delimiter"], summary["encoding"]) == ("~", "cp1252")
    for given, message in (
        ({"delimiter": "::"}, "give one character"),
        ({"encoding": "klingon"}, "unknown encoding 'klingon'"),
    ):
        with pytest.raises(UsageError, match=message):
            scored(classifier, tmp_path / "in.csv", force=True, **given)
    table = parquet(tmp_path / "a.parquet", text=["a"])
    with pytest.raises(UsageError, match=r"are for \.csv"):
        scored(classifier, table, force=True, encoding="cp1252")


def test_a_column_without_text_and_a_file_that_is_none(
    classifier: RegisteredModel, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"'text' contains no text \(text columns: body\)"):
        scored(classifier, parquet(tmp_path / "n.parquet", text=[1.5], body=["a"]))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(FolioError, match=r"broken.parquet: not a complete Parquet file"):
        scored(classifier, tmp_path / "broken.parquet")
    with pytest.raises(UsageError, match=r"nothing.csv: no such file"):
        scored(classifier, tmp_path / "nothing.csv")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"notes.txt: neither .csv nor .parquet"):
        scored(classifier, tmp_path / "notes.txt")


def test_a_file_damaged_further_on_leaves_no_output(
    classifier: RegisteredModel, tmp_path: Path
) -> None:
    file = parquet(tmp_path / "in.parquet", text=[f"film {n}" for n in range(5000)])
    data = bytearray(file.read_bytes())
    data[40:4000] = bytes(3960)
    file.write_bytes(data)
    with pytest.raises(FolioError, match=r"in.parquet: not a complete Parquet file"):
        scored(classifier, file)
    assert list(tmp_path.iterdir()) == [file]


def test_nothing_that_is_there_is_lost(classifier: RegisteredModel, tmp_path: Path) -> None:
    file = parquet(tmp_path / "in.parquet", text=["fine"], tags=[["a", "b"]])
    (tmp_path / "out.parquet").write_text("precious")
    with pytest.raises(UsageError, match=r"out.parquet already exists.* --force"):
        scored(classifier, file, "out.parquet")
    assert (tmp_path / "out.parquet").read_text() == "precious"
    for out, message in (
        ("in.parquet", "the file that is scored"),
        ("a/b.csv", "no such folder"),
        ("out.txt", "neither .csv nor .parquet"),
        ("out.csv", "cannot contain the lists of column 'tags'"),
    ):
        with pytest.raises(UsageError, match=message):
            scored(classifier, file, out, force=True)
    assert scored(classifier, file, "out.parquet", force=True)[1][0]["tags"] == ["a", "b"]
    with pytest.raises(UsageError, match=r"out.parquet already exists"):
        scored(classifier, file, "out.parquet")


def test_added_names_can_be_others(classifier: RegisteredModel, tmp_path: Path) -> None:
    file = parquet(tmp_path / "in.parquet", text=["fine"], label=["positive"])
    _, [row] = scored(classifier, file, prefix="predicted_")
    assert list(row) == ["text", "label", *(f"predicted_{name}" for name in ANSWERS)]


def test_a_full_disk_is_one_line(
    classifier: RegisteredModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = parquet(tmp_path / "in.parquet", text=["fine"])
    monkeypatch.setattr("os.fsync", lambda _: Path("/dev/full").write_text("x"))
    with pytest.raises(FolioError, match=r"scored.parquet: No space left.* nothing was written"):
        scored(classifier, file)
    assert list(tmp_path.iterdir()) == [file]


def test_a_killed_scoring_leaves_nothing_to_the_next(
    classifier: RegisteredModel, trained: Settings, tmp_path: Path
) -> None:
    texts = [f"a film of {n} words, dull and long" for n in range(100_000)]
    file, out = parquet(tmp_path / "in.parquet", text=texts), tmp_path / "scored.parquet"
    scoring = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "predict", NAME, "--file", file, "--out", out],
        cwd=PROJECT,
        env=os.environ | {"FOLIO_HOME": str(trained.home)},
        stderr=subprocess.DEVNULL,
    )
    while not any(draft.stat().st_size for draft in tmp_path.glob(".scored.parquet.*")):
        assert scoring.poll() is None
        time.sleep(0.05)
    scoring.kill()
    scoring.wait()
    assert list(tmp_path.glob(".scored*")) and not out.exists()
    scored(classifier, parquet(file, text=["fine"]))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.parquet",
        "scored.parquet",
        "scored.parquet.json",
    ]


# Drift


def test_the_held_out_text_has_not_drifted_and_another_has(
    classifier: RegisteredModel, trained: Settings, tmp_path: Path
) -> None:
    texts = held_out(trained, NAME)
    drift = scored(classifier, parquet(tmp_path / "a.parquet", text=texts))[0]["drift"]
    assert drift["drifted"] == [] and drift["version"] == 1
    assert [one["measure"] for one in drift["measures"]] == [
        "median length (tokens)",
        "share of unknown tokens",
        "median probability of positive",
    ]
    others = [" ".join(f"{word}x" for word in text.split() * 3) for text in texts]
    drift = scored(classifier, parquet(tmp_path / "b.parquet", text=others), force=True)[0]["drift"]
    length, unknown, score = drift["measures"]
    assert length["new"] == pytest.approx(3 * length["old"], rel=0.2)
    assert unknown["new"] > 0.8 > 0.1 > unknown["old"]
    # Each text now reads as so many unknown words.
    assert score["index"] > 0.2 and drift["drifted"] == [
        one["measure"] for one in drift["measures"]
    ]


def test_a_package_without_statistics_tells_nothing(
    classifier: RegisteredModel, tmp_path: Path
) -> None:
    earlier = shutil.copytree(classifier.folder, tmp_path / "package")
    (earlier / FILE).unlink()
    old = replace(classifier, folder=earlier)
    assert scored(old, parquet(tmp_path / "in.parquet", text=["fine"]))[0]["drift"] is None


# Folders


def test_only_what_is_new_changed_or_spoiled_is_scored_again(
    classifier: RegisteredModel, tmp_path: Path
) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir(), out.mkdir()
    with pytest.raises(UsageError, match="no such file or folder"):
        orders(tmp_path / "none", out)
    parquet(inbox / "a.parquet", text=["fine"])
    table(inbox / "b.csv", b"text", b"dull")
    (inbox / "notes.txt").touch()

    def pending(**asked: Any) -> list[str]:
        found = [
            order
            for order in orders(inbox, out, **asked)
            if not is_up_to_date(order, classifier.version)
        ]
        for order in found:
            score_file(classifier, order)
        return [order.file.name for order in found]

    assert pending() == ["a.parquet", "b.csv"]
    assert pending() == []
    assert sorted(path.name for path in out.glob("*.parquet")) == [
        f"a.parquet{SCORED}",
        f"b.csv{SCORED}",
    ]
    table(inbox / "b.csv", b"text", b"dull", b"more")
    assert pending() == ["b.csv"]
    (out / f"a.parquet{SCORED}").write_bytes(b"spoiled")
    assert pending() == ["a.parquet"]
    (out / f"b.csv{SCORED}.json").write_text("[1")
    assert pending() == ["b.csv"] and pending() == []
    assert pending(column="text") == ["a.parquet", "b.csv"]
    newer = replace(classifier, version=module.Version(NAME, 2, "", ""))
    assert not is_up_to_date(orders(inbox, out, "text")[0], newer.version)


def test_one_file_may_go_to_a_name_of_its_own(classifier: RegisteredModel, tmp_path: Path) -> None:
    file = parquet(tmp_path / "in.parquet", text=["fine"])
    (precious := tmp_path / "out.csv").write_text("precious")
    [order] = orders(file, precious)
    with pytest.raises(UsageError, match="already exists"):
        score_file(classifier, order)
    precious.unlink()
    score_file(classifier, order)
    assert is_up_to_date(order, classifier.version)
    parquet(file, text=["fine", "dull"])
    [again] = orders(file, precious)
    assert score_file(classifier, again)["rows"] == 2  # our own may go
    with pytest.raises(UsageError, match=r"out.csv: not a folder"):
        orders(tmp_path, precious)


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "-"]
FIGURES = ["-3.5", "+4e-2", "-.5", "0", "-12"]
TAME = ["a = b", "'=1", "", " text-", "1-2"]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int32(), pa.string())]
)
def test_no_text_cell_is_a_formula_and_no_number_changes(kind: pa.DataType) -> None:
    given = [*FORMULAS, *FIGURES, *TAME, None]
    numbers = pa.array(range(-9, len(given) - 9))
    safe = harmless(pa.table({"=a": pa.array(given).cast(kind), "b": numbers}))
    assert safe.column_names == ["'=a", "b"] and safe["b"].equals(pa.chunked_array([numbers]))
    assert safe.column(0).cast(pa.string()).to_pylist() == [
        *(f"'{text}" for text in FORMULAS),
        *FIGURES,
        *TAME,
        None,
    ]


def test_a_spreadsheet_safe_csv_file(classifier: RegisteredModel, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    with file.open("w", encoding="utf-8", newline="") as rows:
        csv.writer(rows).writerows(
            [
                ("text", "@name", "shift"),
                *((f"{text} a fine film", text, "-1.5") for text in FORMULAS),
            ]
        )
    kept = {}
    for safe in (False, True):
        summary, _ = scored(
            classifier, file, "scored.csv", column="text", force=True, spreadsheet_safe=safe
        )
        assert summary["spreadsheet_safe"] == safe
        with (tmp_path / "scored.csv").open(encoding="utf-8", newline="") as rows:
            kept[safe] = list(csv.DictReader(rows))
    assert [row["@name"] for row in kept[False]] == FORMULAS  # as it was, unless asked for
    assert list(kept[True][0]) == ["text", "'@name", "shift", *ANSWERS]
    for plain, safe in zip(kept[False], kept[True], strict=True):
        assert (safe["text"], safe["'@name"]) == (f"'{plain['text']}", f"'{plain['@name']}")
        assert safe["shift"] == "-1.5" and float(safe["probability"]) <= 1
        assert [safe[name] for name in ANSWERS] == [plain[name] for name in ANSWERS]


def test_spreadsheet_safe_is_for_csv(classifier: RegisteredModel, tmp_path: Path) -> None:
    file = parquet(tmp_path / "in.parquet", text=["=1 a film", b"\xff".decode("latin-1")])
    with pytest.raises(UsageError, match=r"scored\.parquet: --spreadsheet-safe needs a \.csv file"):
        score_file(classifier, Order(file, tmp_path / "scored.parquet", spreadsheet_safe=True))
    with pytest.raises(UsageError, match="spreadsheet_safe needs a single file"):
        orders(file, tmp_path / "folder", spreadsheet_safe=True)
    summary, _ = scored(classifier, file, "scored.csv", spreadsheet_safe=True)
    (one,) = orders(file, tmp_path / "scored.csv", spreadsheet_safe=True)
    assert summary["rows"] == 2 and is_up_to_date(one, classifier.version)
    (other,) = orders(file, tmp_path / "scored.csv")
    assert not is_up_to_date(other, classifier.version)


def test_scores_made_before_it_could_be_asked_for_stay(
    classifier: RegisteredModel, tmp_path: Path
) -> None:
    file = parquet(tmp_path / "in.parquet", text=["a film"])
    scored(classifier, file)
    (one,) = orders(file, tmp_path / "scored.parquet")
    summary = json.loads(one.summary.read_bytes())
    del summary["spreadsheet_safe"]
    one.summary.write_text(json.dumps(summary))
    assert is_up_to_date(one, classifier.version)
