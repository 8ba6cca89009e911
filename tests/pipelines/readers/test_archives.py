from __future__ import annotations

import gzip
import io
import re
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import FolioError
from pipelines.readers.archives import CHUNK, LIMITS, Limits, read_members

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
TEXTS = {"a/1.txt": b"one", "a/2.txt": b"", "b/3.txt": b"x" * 512, "b/4.txt": b"y" * 1300}


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar_bytes(
    members: list[tuple[tarfile.TarInfo, bytes]], format: int = tarfile.GNU_FORMAT
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def plain(texts: dict[str, bytes], format: int = tarfile.GNU_FORMAT) -> bytes:
    return tar_bytes([member(name, data) for name, data in texts.items()], format)


def read(path: Path, data: bytes, limits: Limits = LIMITS) -> dict[str, bytes | None]:
    path.write_bytes(data)
    return dict(read_members(path, lambda name: True, limits))


def refused(path: Path, data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(FolioError) as caught:
        read(path, data, limits)
    message = str(caught.value)
    assert path.name in message and "\n" not in message
    return message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "texts.tar.gz"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_every_format_plain_and_zipped(path: Path, format: int, pack) -> None:
    texts = TEXTS | {"deep/" * 30 + "é" * 60 + ".txt": b"long name, not ASCII"}
    if format == tarfile.USTAR_FORMAT:
        texts = TEXTS | {"deep/" * 30 + "x.txt": b"name in two fields"}
    assert read(path, pack(plain(texts, format))) == texts


NAMES = st.text("abcäß .-_", min_size=1, max_size=180).map(lambda name: f"d/{name}.txt")


@given(
    texts=st.dictionaries(NAMES, st.binary(max_size=1500), max_size=8),
    format=st.sampled_from(FORMATS[1:]),
)
def test_reads_what_tarfile_reads(tmp_path_factory, texts: dict[str, bytes], format: int) -> None:
    path = tmp_path_factory.getbasetemp() / "some.tar"
    data = plain(texts, format)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = {info.name: tar.extractfile(info).read() for info in tar}
    assert read(path, data) == expected == texts


def test_unwanted_content_is_skipped_whatever_its_size(path: Path) -> None:
    big = b"z" * (2 * CHUNK + 5)
    path.write_bytes(plain({"big.bin": big, "a.txt": b"kept"}))
    found = list(read_members(path, lambda name: name.endswith(".txt"), Limits(member=100)))
    assert found == [("big.bin", None), ("a.txt", b"kept")]


def test_a_text_across_chunks_is_whole(path: Path) -> None:
    text = bytes(range(251)) * (CHUNK // 100)
    assert read(path, gzip.compress(plain({"a.txt": text, "b.txt": b"b"}), 1))["a.txt"] == text


def test_folders_and_dots_in_names(path: Path) -> None:
    data = tar_bytes(
        [
            member("./", kind=tarfile.DIRTYPE),
            member("./a//b.txt", b"b"),
            member("a..b/c.txt", b"c"),
            member("a", kind=tarfile.DIRTYPE),
        ]
    )
    assert read(path, data) == {"a/b.txt": b"b", "a..b/c.txt": b"c"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (member("/etc/passwd", b"x"), "absolute"),
        (member("C:/x.txt", b"x"), "absolute"),
        (member("a/../../x.txt", b"x"), r"\.\."),
        (member("a/..", kind=tarfile.DIRTYPE), r"\.\."),
        (member("a\\b.txt", b"x"), "backslash"),
        (member("a\nb.txt", b"x"), "control"),
        (member("a\x1b[2Jb.txt", b"x"), "control"),
        (member("link.txt", kind=tarfile.SYMTYPE, linkname="/etc/passwd"), "symbolic link"),
        (member("link.txt", kind=tarfile.LNKTYPE, linkname="a/1.txt"), "hard link"),
        (member("link.txt", kind=tarfile.SYMTYPE, linkname="x" * 200), "symbolic link"),
        (member("tty", kind=tarfile.CHRTYPE), "device"),
        (member("disk", kind=tarfile.BLKTYPE), "device"),
        (member("pipe", kind=tarfile.FIFOTYPE), "FIFO"),
        (member("odd", kind=b"Z"), "unknown type"),
        (member("a/1.txt", b"again"), "twice"),
        (member("./a/1.txt", b"again"), "twice"),
    ],
)
@pytest.mark.parametrize("format", FORMATS[1:])
def test_hostile_members(path: Path, bad, reason: str, format: int) -> None:
    good = [member(name, data) for name, data in TEXTS.items()]
    message = refused(path, gzip.compress(tar_bytes([*good, bad], format)))
    assert re.search(reason, message)
    assert "member" in message


def test_sparse_files(path: Path) -> None:
    sparse = member("a.txt", b"x", pax_headers={"GNU.sparse.major": "1"})
    assert "sparse" in refused(path, tar_bytes([sparse], tarfile.PAX_FORMAT))


def test_name_that_is_not_utf8(path: Path) -> None:
    info, data = member("caf\udce9.txt", b"x")
    assert "UTF-8" in refused(path, tar_bytes([(info, data)]))


def test_one_name_for_all_members(path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "same.txt"}
    ) as tar:
        tar.addfile(*[member("a.txt")[0]])
    assert "all its members" in refused(path, buffer.getvalue())


def test_a_harmless_global_header(path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer,
        mode="w",
        format=tarfile.PAX_FORMAT,
        pax_headers={"comment": "as git archive writes it"},
    ) as tar:
        tar.addfile(member("a.txt", b"x")[0], io.BytesIO(b"x"))
    assert read(path, buffer.getvalue()) == {"a.txt": b"x"}


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(member=1000), "b/4.txt"),
        (Limits(members=2), "more than 2 members"),
        (Limits(total=4000), "4,000 bytes"),
        (Limits(ratio=3, ratio_from=1000), "3 times"),
        (Limits(header=100), "header of"),
    ],
)
def test_bounds(path: Path, limits: Limits, reason: str) -> None:
    texts = {"n" * 200: b"a long name needs a header of its own"} | TEXTS
    packed = gzip.compress(plain(texts))
    assert read(path, packed) == texts
    assert reason in refused(path, packed, limits)


def test_a_declared_size_beyond_the_bounds_is_not_believed(path: Path) -> None:
    info, _ = member("huge.txt")
    info.size = 9 * 2**30
    header = info.tobuf(tarfile.GNU_FORMAT)
    assert "huge.txt" in refused(path, header + b"\0" * 2048)
    path.write_bytes(header + b"\0" * 2048)
    with pytest.raises(FolioError, match="truncated"):
        list(read_members(path, lambda name: False))


def test_a_bomb(path: Path) -> None:
    packed = gzip.compress(plain({"a.txt": b"\0" * (40 * CHUNK)}), 9)
    message = refused(path, packed, Limits(ratio_from=CHUNK))
    assert "200 times" in message


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9, 0.999])
def test_a_truncated_archive(path: Path, share: float) -> None:
    packed = gzip.compress(plain(TEXTS))
    assert "truncated" in refused(path, packed[: int(len(packed) * share)])


def test_a_plain_tar_without_its_end(path: Path) -> None:
    data = plain({"a.txt": b"a" * 700})
    for cut in (600, 512 + 512, 512 + 1024):
        assert "truncated" in refused(path, data[:cut])


def test_a_wrong_checksum_at_the_end_is_noticed(path: Path) -> None:
    packed = bytearray(gzip.compress(plain(TEXTS)))
    packed[-6] ^= 1
    assert "damaged" in refused(path, bytes(packed))


def test_a_flipped_byte_in_a_header(path: Path) -> None:
    data = bytearray(plain(TEXTS))
    data[1024] ^= 1  # the name of the second member
    assert "damaged after member a/1.txt" in refused(path, bytes(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>404</html>",
        b"plain text\n" * 100,
        gzip.compress(b"text, but no tar", mtime=0),
        b"\xff" * 5000,
    ],
)
def test_no_tar_at_all(path: Path, data: bytes) -> None:
    assert "not a tar" in refused(path, data)


def test_gzip_streams_in_a_row_and_padding(path: Path) -> None:
    data = plain(TEXTS)
    packed = gzip.compress(data[:700]) + gzip.compress(data[700:]) + b"\0" * 300
    assert read(path, packed) == TEXTS
