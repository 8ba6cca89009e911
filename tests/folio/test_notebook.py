"""The notebook in the documentation runs, and shows what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.folio.notebook import code_cells, printed

pytestmark = pytest.mark.slow

NOTEBOOK = PROJECT / "docs" / "folio.ipynb"
AGAIN = "python -m tests.folio.notebook docs/folio.ipynb writes what it prints now"


@pytest.mark.long
@pytest.mark.timeout(900)  # a busy machine takes minutes to start a server
def test_the_notebook_prints_what_it_shows(tmp_path: Path) -> None:
    copy = tmp_path / "folio.ipynb"
    copy.write_bytes(NOTEBOOK.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "tests.folio.notebook", str(copy)],
        env=os.environ | {"FOLIO_HOME": str(tmp_path / "home"), "PYTHONPATH": str(PROJECT)},
        check=True,
        cwd=PROJECT,
    )
    shown, now = (
        code_cells(json.loads(path.read_text(encoding="utf-8"))) for path in (NOTEBOOK, copy)
    )
    assert len(shown) > 4
    for old, new in zip(shown, now, strict=True):
        assert bool(printed(old)) == bool(printed(new)), AGAIN
        if "varies" not in old["metadata"].get("tags", ()):  # with the machine's arithmetic
            assert printed(old) == printed(new), AGAIN
