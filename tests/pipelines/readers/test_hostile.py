"""Input that is wrong on purpose, or huge: read or refused in bounded time and memory."""

from __future__ import annotations

import struct
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.errors import FolioError
from pipelines.readers import csv_rows
from tests.pipelines.readers.test_packed import LABELS, encrypted, zipped
from tests.pipelines.readers.test_read import documents, lay

MB = 2**20


@contextmanager
def bounded(megabytes: float, seconds: float) -> Iterator[None]:
    """Fails if what is inside holds more memory at once, or takes more processor time."""
    tracemalloc.start()
    began = time.process_time()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes * MB, f"{peak / MB:.0f} MB"
    assert time.process_time() - began < seconds


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["text", "files"])
def test_a_long_text_in_one_line(tmp_path: Path, reader: str) -> None:
    """16 MB here, for 512: words that licence frames have must not make it many times that."""
    line = "the quick brown fox of Project Gutenberg *** END OF the SMALL PRINT "
    text = line * (16 * MB // len(line))
    lay(tmp_path, {"a.txt": text})
    split = "contiguous" if reader == "text" else "hash"
    with bounded(5 * 16, 20):
        (found,) = documents(tmp_path, reader=reader, split=split)[0]
    assert found.text == text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "start", "message"),
    [
        ("lines", "", "line 1 has more than 16,777,216 characters"),
        ("paragraphs", "", "line 1 has more than 16,777,216 characters"),
        ("csv", "text,kind\n", "a line of more than 1,048,576 characters"),
        ("csv", 'text,kind\n"', "a line of more than 1,048,576 characters"),
        ("jsonl", '{"text": "', "line 1 has more than"),
    ],
)
def test_a_line_too_long_for_its_reader(
    tmp_path: Path, reader: str, start: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "MAX_LINE_CHARACTERS", MB)
    lay(tmp_path, {"a.txt": start + "x" * (80 * MB)})
    labels = LABELS if reader in ("csv", "jsonl") else {"split": "hash"}
    limit = 150 if reader == "jsonl" else 50
    with bounded(limit, 20), pytest.raises(FolioError, match=message) as caught:
        documents(tmp_path, reader=reader, **labels)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.slow
@pytest.mark.parametrize("reader", ["csv", "jsonl"])
def test_thousands_of_columns(tmp_path: Path, reader: str) -> None:
    names = [f"column {number}" for number in range(4998)]
    cells = ",".join("7" * 4998)
    table = f"text,kind,{','.join(names)}\n" + f"x,a,{cells}\n" * 30
    object_ = '{"text": "x", "kind": "a", ' + ", ".join(f'"{name}": 7' for name in names) + "}\n"
    lay(tmp_path, {"a.csv": table} if reader == "csv" else {"a.jsonl": object_ * 30})
    with bounded(30, 20):
        found = documents(tmp_path, reader=reader, **LABELS)[0]
    assert [document.label for document in found] == [0.0] * 30
    with pytest.raises(FolioError, match="no column 'body'") as caught:
        documents(tmp_path, reader=reader, text_column="body", **LABELS)
    assert len(str(caught.value)) < 400


def test_mixed_encodings(tmp_path: Path) -> None:
    """Each file by its own mark; what is in none is named, not read as something else."""
    lay(tmp_path, {"a.txt": "é".encode(), "b.txt": "é".encode("utf-16"), "c.txt": b"\xe9"})
    found = documents(tmp_path, reader="files", split="hash")[0]
    assert [(d.text, d.reason) for d in found] == [("é", None), ("é", None), ("\ufffd", "not-utf8")]
    rows = "text,kind\né,a\n".encode() + b"\xe9,a\n" + "é,b\n".encode()
    found = documents(lay(tmp_path / "t", {"a.csv": rows}), reader="csv", **LABELS)[0]
    assert [d.reason for d in found] == [None, "not-utf8", None]


def lying(size: int) -> bytes:
    """A zip whose list of members says that its one member has another size than it has."""
    data = bytearray(zipped({"a.txt": b"0" * 100_000}))
    for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(mark) + at, size)
    return bytes(data)


def overlapping() -> bytes:
    """A zip whose members are all the same bytes of it (Fifield's bomb, without its quoting)."""
    data = zipped({"a.txt": b"0" * 2**20})
    start = data.index(b"PK\x01\x02")
    entry = data[start : data.index(b"PK\x05\x06")]
    many = 5000
    entries = b"".join(entry.replace(b"a.txt", b"%05d" % number) for number in range(many))
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, many, many, len(entries), start, 0)
    return data[:start] + entries + end


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lying(10), "zip data is damaged or incomplete"),
        (lying(2**31), "unpacks to 2,147,483,648 bytes, as no text does"),
        (overlapping(), "unpacks to 5,242,880,000 bytes, as no text does"),
        (zipped({"../../etc/passwd": "x"}), "leads out of its folder"),
        (zipped({"C:/x.txt": "x"}), "absolute name"),
        (zipped({"a/../../x.txt": "x"}), "leads out of its folder"),
        (zipped({"a\nb.txt": "x"}), "control character"),
        (zipped({"b.zip": zipped({"c.txt": "x"})}), "zip archive inside an archive"),
        (encrypted(), "is encrypted"),
    ],
)
@pytest.mark.parametrize("reader", ["files", "csv", "labelled-folders"])
def test_hostile_zips(tmp_path: Path, data: bytes, message: str, reader: str) -> None:
    lay(tmp_path, {"x.zip": data})
    if reader == "labelled-folders":
        message = f"{message}|contains no train/pos"  # what it does not read it does not open
        settings = {"split": "official"}
    else:
        settings = LABELS if reader == "csv" else {"split": "hash", "glob": "**/*"}
    with bounded(50, 20), pytest.raises(FolioError, match=message) as caught:
        documents(tmp_path, reader=reader, **settings)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_a_zip_with_a_name_twice(tmp_path: Path) -> None:
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(tmp_path / "a.zip", "w") as archive,
    ):
        archive.writestr("a.txt", "one")
        archive.writestr("a.txt", "two")
    with pytest.raises(FolioError, match=r"two files a\.txt"):
        documents(tmp_path, reader="files", split="hash")
