"""A draft belongs to whoever writes it, and to nobody once that process is dead."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.files.drafts import drafted, sweep

WRITER = """
import sys
from pathlib import Path
from pipelines.files.drafts import drafted
with drafted(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    print(draft.name, flush=True)
    sys.stdin.read()
"""


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    (out := tmp_path / "out.csv").write_text("before")
    with drafted(out) as draft:
        draft.write_text("after")
        assert out.read_text() == "before"
    assert out.read_text() == "after" and list(tmp_path.iterdir()) == [out]
    assert out.stat().st_mode & 0o777 == 0o644
    with pytest.raises(KeyError), drafted(out) as draft:
        draft.write_text("half")
        raise KeyError
    assert out.read_text() == "after" and list(tmp_path.iterdir()) == [out]


def test_only_the_drafts_of_dead_processes_are_swept(tmp_path: Path) -> None:
    for own in (".notes.csv.123", ".folio", "a.csv.1.folio", ".a.folio"):
        (tmp_path / own).touch()
    theirs = sorted(tmp_path.iterdir())
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path / "out.csv"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdout is not None
    draft = tmp_path / writer.stdout.readline().strip()
    sweep(tmp_path)
    assert draft.read_text() == "half"
    writer.kill()
    writer.communicate()
    assert draft.exists()
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == theirs
