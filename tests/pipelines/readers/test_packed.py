"""Files inside .gz, .bz2, .xz, .zst and .zip."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import FolioError
from pipelines.readers.archives import Limits
from pipelines.readers.packed import unpacked
from tests.pipelines.readers.test_read import documents, lay

BOOK = "One day.\n\nThe end.\n"
TABLE = "text,kind\nx,a\ny,b\n"
LINE = b"x" * 1023 + b"\n"
LABELS = {"split": "hash", "label_column": "kind", "labels": ("a", "b")}


def zstandard(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard,
}


def zipped(files: dict[str, bytes | str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("ending", [*PACKERS, "zip"])
def test_each_reader_reads_packed_files(tmp_path: Path, ending: str) -> None:
    def pack(name: str, text: str | bytes) -> dict[str, bytes]:
        data = text.encode() if isinstance(text, str) else text
        packed = zipped({name: data}) if ending == "zip" else PACKERS[ending](data)
        return {f"{name}.{ending}": packed}

    book, table = (
        lay(tmp_path / "b", pack("b.txt", BOOK)),
        lay(tmp_path / "t", pack("t.csv", TABLE)),
    )
    (text,) = documents(book, reader="text", split="contiguous")[0]
    assert (text.id, text.text) == ("b.txt", BOOK)
    for reader, ids in (("lines", "13"), ("paragraphs", "13"), ("files", " ")):
        found = documents(book, reader=reader, split="hash")[0]
        assert [d.id for d in found] == [f"b.txt:{n}" if n != " " else "b.txt" for n in ids]
    assert [d.label for d in documents(table, reader="csv", **LABELS)[0]] == [0.0, 1.0]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": ["x", "y"], "kind": ["a", "b"]}), buffer)
    for reader, data in (("jsonl", '{"text": "x", "kind": "b"}\n'), ("parquet", buffer.getvalue())):
        root = lay(tmp_path / reader, pack(f"t.{reader}", data))
        assert documents(root, reader=reader, **LABELS)[0][-1].label == 1.0


def test_a_zip_of_novels(tmp_path: Path) -> None:
    novels = {"n/ONE.TXT": BOOK, "n/two.txt": "Two.", "n/notes.md": "x", "n/": "", "zero.txt": "0"}
    junk = {"__MACOSX/n/._ONE.TXT": "x", "n/.DS_Store": "x"}
    lay(tmp_path, {"novels.zip": zipped(novels | junk)})
    found, notes = documents(tmp_path, reader="files", split="hash")
    assert [(d.id, d.text) for d in found] == [
        ("n/ONE.TXT", BOOK),
        ("n/two.txt", "Two."),
        ("zero.txt", "0"),
    ]
    assert sorted((+notes.ignored).values()) == [1, 2]
    lay(tmp_path, {"more.txt": "More."})  # then the archive is like a folder
    names = [d.id for d in documents(tmp_path, reader="files", split="hash")[0]]
    assert names == [
        "more.txt",
        "novels.zip/n/ONE.TXT",
        "novels.zip/n/two.txt",
        "novels.zip/zero.txt",
    ]
    with pytest.raises(FolioError, match=r"reader text needs one file, the source has 5"):
        documents(tmp_path, reader="text", split="contiguous")


FOLDERS = {
    "train/pos/0_9.txt": "Good.",
    "train/neg/0_1.txt": "Bad.",
    "test/pos/0_8.txt": "Fine.",
    "train/urls_pos.txt": "http://www.imdb.com/title/tt1/usercomments",
}


@pytest.mark.parametrize("home", ["", "aclImdb/"])
@pytest.mark.parametrize("name", ["reviews.zip", "reviews.bin"])
def test_labelled_folders_in_a_zip(tmp_path: Path, home: str, name: str) -> None:
    files = {f"{home}{path}": text for path, text in FOLDERS.items()}
    junk = {"__MACOSX/._x": "x", f"{home}README": "x"}
    lay(tmp_path / "zip", {name: zipped(files | junk)})
    lay(tmp_path / "plain", files)
    settings = {"reader": "labelled-folders", "split": "official"}
    found, notes = documents(tmp_path / "zip", **settings)
    plain, same = documents(tmp_path / "plain", **settings)
    assert sorted(found) == sorted(plain) and len(found) == 3
    assert notes.films == same.films == {"train/pos": ["tt1"]}
    assert notes.ignored.total() == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped({"train/pos/../../x.txt": "x"}), "leads out of its folder"),
        (zipped({"train/pos/0_9.txt": zipped({"x": "x"})}), "zip archive inside an archive"),
        (zipped({"a.txt": "x"}), "contains no train/pos"),
    ],
)
def test_labelled_folders_in_a_zip_that_is_refused(
    tmp_path: Path, data: bytes, message: str
) -> None:
    lay(tmp_path, {"reviews.zip": data})
    with pytest.raises(FolioError, match=message):
        documents(tmp_path, reader="labelled-folders", split="official")


def test_a_zip_with_many_files_is_opened_once(tmp_path: Path) -> None:
    """Its list of members is read once, not once for each member."""
    lay(tmp_path, {"a.zip": zipped({f"{number}.txt": "x" for number in range(5000)})})
    began = time.process_time()
    assert len(documents(tmp_path, reader="files", split="hash")[0]) == 5000
    assert time.process_time() - began < 20  # a minute and more if it were


def encrypted() -> bytes:
    data = bytearray(zipped({"a.txt": BOOK}))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    return bytes(data)


def packed_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", encrypted(), r"a\.zip: a\.txt is encrypted; unpack it with its password"),
        ("a.zip", zipped({"../a.txt": "x"}), "leads out of its folder"),
        ("a.zip", zipped({"/etc/a.txt": "x"}), "absolute name"),
        ("a.zip", zipped({"a\\b\x01.txt": "x"}), "backslash or control character"),
        ("a.zip", zipped({"b.zip": zipped({"a.txt": "x"}), "a.txt": "x"}), "zip archive inside"),
        ("a.zip", zipped({"a.txt": gzip.compress(b"x")}), "gzip data inside an archive"),
        ("a.zip", zipped({}), "archive without files"),
        ("a.zip", zipped({"a.txt": BOOK})[:-30], "not a complete zip archive"),
        ("a.zip", zipped({"a.txt": b"\0" * 2**27}), "unpacks to 134,217,728 bytes, as no text"),
        ("a.txt.gz", gzip.compress(LINE * 2**17), "more than 200 times its size"),
        ("a.txt.gz", gzip.compress(BOOK.encode())[:-9], "gzip data is damaged or incomplete"),
        ("a.txt.xz", lzma.compress(BOOK.encode())[:-9], "xz data is damaged or incomplete"),
        ("a.txt.bz2", bz2.compress(BOOK.encode())[:-9], "bzip2 data is damaged or incomplete"),
        ("a.txt.gz", gzip.compress(gzip.compress(b"x")), "gzip data inside an archive"),
        ("a.tar", packed_tar(), "a tar archive, which only reader labelled-folders reads"),
        ("a.tgz", gzip.compress(packed_tar()), "a tar archive inside an archive"),
    ],
)
@pytest.mark.parametrize("reader", ["files", "lines"])
def test_what_is_refused_in_one_line(
    tmp_path: Path, name: str, data: bytes, message: str, reader: str
) -> None:
    lay(tmp_path, {name: data})
    with pytest.raises(FolioError, match=message) as caught:
        documents(tmp_path, reader=reader, split="hash", glob="**/*")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_damage_in_the_middle_of_a_zip_is_found(tmp_path: Path) -> None:
    data = bytearray(zipped({"a.txt": BOOK * 100}))
    data[60] ^= 0xFF
    lay(tmp_path, {"a.zip": bytes(data)})
    with pytest.raises(FolioError, match="zip data is damaged or incomplete"):
        documents(tmp_path, reader="files", split="hash")


def test_what_a_file_is_follows_from_its_bytes(tmp_path: Path) -> None:
    lay(
        tmp_path,
        {"a.txt": gzip.compress(BOOK.encode()), "b.txt.gz": BOOK, "c.txt": "BZh is no word"},
    )
    found, _ = documents(tmp_path, reader="files", split="hash", glob="*")
    assert [(d.id, d.text) for d in found] == [
        ("a.txt", BOOK),
        ("b.txt.gz", BOOK),
        ("c.txt", "BZh is no word"),
    ]


def test_a_file_twice(tmp_path: Path) -> None:
    lay(tmp_path, {"a.txt": BOOK, "a.txt.gz": gzip.compress(b"x")})
    with pytest.raises(FolioError, match=r"two files a\.txt, packed or not"):
        documents(tmp_path, reader="files", split="hash")


def test_reading_is_bounded_however_it_is_read(tmp_path: Path) -> None:
    path = lay(tmp_path, {"a.gz": gzip.compress(bytes(10_000))}) / "a.gz"
    (file,) = unpacked([path], tmp_path, Counter())
    file = replace(file, limits=Limits(ratio_from=1000, ratio=10))
    with pytest.raises(FolioError, match="more than 10 times its size"), file.open() as stream:
        while stream.read(100):
            pass
