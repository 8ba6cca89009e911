"""Small JSON files: whatever stands in their place is told apart, in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import UnreadableError
from pipelines.files.names import unsafe
from pipelines.files.small_files import MAX_BYTES, read_object


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    path.write_text('{"run": "a", "stages": []}')
    assert read_object(path, run=str, stages=list) == {"run": "a", "stages": []}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b'{"run": "a"',
        b"\xff\xfe\x00",
        b'{"run": "\xff"}',
        b"[]",
        b'"a"',
        b"null",
        b"1",
        b"{}",
        b'{"run": null}',
        b'{"run": 1}',
        b"[" * 100_000,
        b'{"run": ' + b"9" * 5000 + b"}",
    ],
)
def test_anything_else_is_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "note.json"
    path.write_bytes(data)
    with pytest.raises(UnreadableError) as caught:
        read_object(path, run=str)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_folder_a_dangling_link_and_a_file_too_large_are_no_notes(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with (tmp_path / "large").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for name in ("folder", "link", "large"):
        with pytest.raises(UnreadableError, match=name):
            read_object(tmp_path / name)


def test_nothing_there_is_not_damage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file" / "below"):
        with pytest.raises(FileNotFoundError):
            read_object(path)


@pytest.mark.parametrize(
    "name",
    [
        "",
        None,
        3,
        ".",
        "..",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "..\\x",
        "a\nb",
        "a\x00",
        "a\x1b[2J",
        "\u202ea",
        "a/./b",
        "\u200ea",
        "\udcff",
        "x" * 256,
    ],
)
def test_names_that_may_lead_elsewhere_are_refused(name: object) -> None:
    assert unsafe(name)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "a/b.txt",
        "...",
        "..a",
        "tokens/part-0001.parquet",
        "日本.txt",
        "a b",
        "全角\u3000空白",
        "no\u00a0break",
        "x" * 255,
    ],
)
def test_names_below_a_folder_are_not(name: str) -> None:
    assert unsafe(name) is None
