"""The code in the documentation runs, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from pipelines.model.backend import load_keras
from tests.conftest import PROJECT

pytestmark = pytest.mark.slow  # imports TensorFlow

BLOCK = re.compile(r"```(python)?\n(.*?)```", re.DOTALL)


def test_the_cells_page_computes_what_keras_computes() -> None:
    load_keras("tensorflow")
    page = (PROJECT / "docs" / "cells.md").read_text(encoding="utf-8")
    names: dict = {}
    printed, compared = "", 0
    for language, text in BLOCK.findall(page):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(text, "docs/cells.md", "exec"), names)
            printed = out.getvalue()
        else:
            assert text.split() == printed.split()
            compared += 1
    assert compared == 4 and page.count("assert_allclose") == 5
