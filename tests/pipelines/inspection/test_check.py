"""What `folio check` finds in a source, all at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.inspection.check import Finding, Report, check
from pipelines.inspection.material import local_source
from tests.conftest import PROJECT, spec_of
from tests.pipelines.inspection.test_proposal import csv_of, labelled
from tests.pipelines.readers.test_packed import zipped
from tests.pipelines.readers.test_read import lay

CLASSIFIER = """\
source: {{path: "{path}"}}
corpus: {{reader: {reader}, split: shuffled, validation: 0.2, test: 0.2, text_column: body,
         label_column: kind, labels: [ham, spam]}}
tokens: {{kind: word, max_tokens: 10}}
model: {{kind: classifier}}
registry: {{metric: accuracy}}
"""
TEXTS = """\
source: {{path: "{path}"}}
corpus: {{reader: {reader}, split: hash, validation: 0.2, test: 0.2}}
tokens: {{kind: char}}
batches: {{sequence_length: 20}}
model: {{kind: language_model}}
registry: {{metric: bits_per_character}}
"""
GOOD = labelled(["ham", "spam"], 50)


def report(
    folder: Path, name: str, data: bytes | str, text: str = CLASSIFIER, **how: str
) -> Report:
    lay(folder, {name: data})
    (folder / "scratch").mkdir(exist_ok=True)
    file = folder / "it.yaml"
    file.write_text(text.format(path=name, reader=how.get("reader", "csv")), encoding="utf-8")
    found = check(
        local_source(folder / name), spec_of(file), folder / "scratch", lambda *progress: None
    )
    json.dumps(found.as_json())
    return found


def kinds(found: Report) -> dict[str, int]:
    return {finding.what: finding.count for finding in found.findings}


def one(found: Report, what: str) -> Finding:
    (finding,) = (finding for finding in found.findings if finding.what == what)
    return finding


def test_what_is_right_has_no_fault(tmp_path: Path) -> None:
    found = report(tmp_path, "a.csv", csv_of([row | {"body": str(row["id"])} for row in GOOD]))
    assert found.usable and found.findings == []
    assert found.documents == 100 and found.splits == {"train": 60, "validation": 20, "test": 20}
    assert found.labels["ham"]["train"] + found.labels["spam"]["train"] == 60


def test_everything_at_once(tmp_path: Path) -> None:
    """The corpus stage would stop at the first; each kind has its count and its first rows."""
    bad = (
        "1,a,b,c\n2,a,b,c,d\n"  # too many fields
        "3,,ham\n4, ,ham\n"  # empty
        "5,odd,eggs\n6,odder,eggs\n7,none,\n"  # no label
        "8\n"  # cut short
    )
    data = csv_of(GOOD).encode() + bad.encode() + b"9,caf\xe9,ham\n" + b"10,caf\xc3\xa9,ham\n" * 3
    found = report(tmp_path, "a.csv", data)
    counted = kinds(found)
    assert counted | {"cut-to-max-tokens": 0, "error": 0} == {
        "error": 0,
        "empty": 2,
        "no-label": 4,
        "not-utf8": 1,
        "duplicate": 2,
        "label-not-declared": 2,
        "short-rows": 1,
        "cut-to-max-tokens": 0,
    }
    errors = [finding for finding in found.findings if finding.stops]
    assert [finding.count for finding in errors] == [2, 1] and not found.usable
    assert "the row at line 102 has 4 fields" in errors[0].examples[0]
    assert "the row at line 103 has 5 fields" in errors[0].examples[1]
    assert "8.2% of 110 documents cannot be used" in errors[1].text
    assert one(found, "label-not-declared").examples == ["'eggs' 2"]
    assert one(found, "empty").examples == ["a.csv:101", "a.csv:102"]
    assert one(found, "no-label").examples[0] == "a.csv:103: odd"
    assert one(found, "not-utf8").examples == ["a.csv:107: caf\ufffd"]
    assert 0 < counted["cut-to-max-tokens"] < 100
    assert found.documents == 110


def test_lines_that_are_no_json(tmp_path: Path) -> None:
    rows = [json.dumps({"body": row["body"], "kind": row["kind"]}) for row in GOOD]
    lines = [*rows[:50], "{", "[1]", '{"body": "x"}', *rows[50:], '{"body": 1', "x"]
    found = report(tmp_path, "a.jsonl", "\n".join(lines), reader="jsonl")
    errors = [finding.text for finding in found.findings if finding.stops]
    assert found.documents == 100 and len(errors) == 5
    assert any("line 51 is not valid JSON" in text for text in errors)
    assert any("line 52 is no JSON object" in text for text in errors)
    assert any("line 53: no column 'kind'" in text for text in errors)


def test_labels_that_are_rare_or_missing(tmp_path: Path) -> None:
    found = report(tmp_path, "a.csv", csv_of([row for row in GOOD if row["id"] < 55]))
    assert one(found, "label-rare").examples == [f"spam {found.labels['spam']['train']}"]
    found = report(tmp_path, "a.csv", csv_of(GOOD[:50]))
    (stop,) = (finding for finding in found.findings if finding.stops)
    assert "no document of the train split has the label 'spam'" in stop.text


def test_a_table_of_which_no_row_can_be_read(tmp_path: Path) -> None:
    """In an encoding that is not read: no label is left to be learned."""
    data = "body,kind\nbästä,1\nschön,0\n".encode("cp1252")
    found = report(tmp_path, "a.csv", data, CLASSIFIER.replace(", labels: [ham, spam]", ""))
    told = [finding.text for finding in found.findings]
    assert any("100.0% of 2 documents cannot be used" in text for text in told)
    assert (
        "no document of the train split has a label (column 'kind'); a classifier needs two labels"
        in told
    )


def test_a_licence_frame_and_other_files(tmp_path: Path) -> None:
    play = (PROJECT / "data" / "samples" / "play.txt").read_text(encoding="utf-8")
    frame = "*** {} OF THE PROJECT GUTENBERG EBOOK A PLAY ***\n"
    text = f"Title: A Play\n\n{frame.format('START')}{play}{frame.format('END')}Licence.\n"
    files = {"a.txt": text, "notes.md": "x", "empty.txt": "", "b.txt": play[:999]}
    found = report(tmp_path, "a.zip", zipped(files), TEXTS, reader="files")
    ignored = [finding.text for finding in found.findings if finding.what == "ignored"]
    assert any("other files" in text for text in ignored)
    assert any("frames" in text for text in ignored)
    assert one(found, "empty").examples == ["empty.txt"]
    assert found.labels == {} and not any("label" in what for what in kinds(found))


def test_a_text_that_is_cut_has_parts_in_each_split(tmp_path: Path) -> None:
    text = TEXTS.replace("split: hash", "split: contiguous")
    found = report(tmp_path, "a.txt", "Some text. " * 99, text, reader="text")
    assert (found.documents, found.findings) == (1, [])
    assert found.splits == {"train": 1, "validation": 1, "test": 1}


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", "x,y\n1,2\n", "no column 'body' (corpus.text_column) among x, y"),
        ("a.csv", "", "the file is empty"),
        ("a.csv", 'id,body,kind\n1,"x,ham\n', "is not valid CSV"),
        ("a.csv", "id,body,kind\n", "the source contains no documents"),
    ],
)
def test_what_leaves_nothing_to_check(tmp_path: Path, name: str, data: str, message: str) -> None:
    found = report(tmp_path, name, data)
    assert not found.usable and found.documents == 0 and found.splits == {}
    assert any(message in finding.text for finding in found.findings)
