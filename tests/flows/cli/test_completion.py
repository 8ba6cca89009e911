"""What the shell offers when Tab is pressed; the command answers as Typer's own script asks it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.declaration.catalog import shipped_names
from pipelines.stages import NAMES

FOLIO = str(Path(sys.executable).with_name("folio"))


def offered(*words: str) -> list[str]:
    """For the last of `words`."""
    asked = {
        "_FOLIO_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(["folio", *words]),
        "COMP_CWORD": str(len(words)),
    }
    done = subprocess.run([FOLIO], env=os.environ | asked, capture_output=True, text=True)
    assert not done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("repr",), ["reproduce"]),
        (("plan", ""), shipped_names()),
        (("run", "jawiki", "im"), ["imdb", "imdb-lm", "imdb-lm-labelled"]),
        (("run", "imdb", "--only", ""), list(NAMES)),
    ],
)
def test_commands_pipelines_and_stages(words: tuple[str, ...], expected: list[str]) -> None:
    assert offered(*words) == expected
