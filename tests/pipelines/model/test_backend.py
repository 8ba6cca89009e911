"""Keras is imported without what Folio does not use of it, and nobody else notices."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import pytest

from pipelines.model.backend import _hidden
from tests.conftest import PROJECT

LOADED = """
import sys
from pipelines.model.backend import load_keras
load_keras("tensorflow")
print(*{"sklearn", "matplotlib", "pandas"} & set(sys.modules))
import matplotlib, pandas, sklearn
"""


@pytest.mark.long
def test_keras_has_loaded_nothing_unused() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_a_package_is_hidden_from_one_thread_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with _hidden(("colorsys",)), ThreadPoolExecutor(1) as another:
        with pytest.raises(ImportError, match="colorsys is hidden"):
            import_module("colorsys")
        assert another.submit(import_module, "colorsys").result().__name__ == "colorsys"
    monkeypatch.delitem(sys.modules, "colorsys")
    assert import_module("colorsys").__name__ == "colorsys"
