"""Functions that a declaration names: where they are found, what their code is, how they fail."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipelines.errors import FolioError, UsageError
from pipelines.store.own_code import OwnFunction

KEY = "corpus.transform"


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def own(folder: Path, reference: str) -> OwnFunction:
    return OwnFunction(KEY, reference, folder)


def test_its_code_is_all_that_it_imports_beside_it(tmp_path: Path) -> None:
    written(
        tmp_path,
        steps__clean="import re, steps.words as w\nfrom . import more\nfrom .deep.low import (\n"
        "    f,  # a comment, with a comma\n)\ndef tidy(d):\n    from flat import g\n",
        steps__words="import os\n",
        steps__more="",
        steps__other="",
        flat="import json\nimport numpy\n",
        steps__deep__low="from ..late import f\n",
        steps__late="def f(): pass\n",
    )
    (tmp_path / "steps" / "__init__.py").write_text("from steps import always\n")
    written(tmp_path, steps__always="")
    found = own(tmp_path, "steps.clean:tidy").fingerprint()
    assert sorted(found) == [
        "flat.py",
        "steps/__init__.py",
        "steps/always.py",
        "steps/clean.py",
        "steps/deep/low.py",
        "steps/late.py",
        "steps/more.py",
        "steps/words.py",
    ]
    written(tmp_path, steps__late="def f(): return 1\n")
    again = own(tmp_path, "steps.clean:tidy").fingerprint()
    assert [name for name in found if again[name] != found[name]] == ["steps/late.py"]
    assert not {"steps", "flat"} & {*sys.modules}, "nothing is imported to know its code"


def test_of_an_installed_package_only_its_own_modules_count(tmp_path: Path) -> None:
    function = own(tmp_path, "pipelines.corpus.blanks:anything")
    files = function.fingerprint()
    assert "pipelines/corpus/blanks.py" in files and "pipelines/__init__.py" in files
    assert all(name.startswith("pipelines/") for name in files) and not function.is_local


def test_two_declarations_may_have_modules_of_one_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(
            tmp_path / name,
            steps="from helper import NAME\ndef f(): return NAME, later()\n"
            "def later():\n    import lazy_one_or_two\n    return lazy_one_or_two.X\n",
            helper=f"NAME = {name!r}\n",
            lazy_one_or_two="X = 5\n",
        )
    first = own(tmp_path / "one", "steps:f").loaded()
    assert own(tmp_path / "two", "steps:f").loaded()() == ("two", 5) and first() == ("one", 5)
    written(tmp_path / "one", helper="NAME = 'changed'\n")
    assert own(tmp_path / "one", "steps:f").loaded()()[0] == "changed"


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("absent:f", "there is no module absent in .*, beside the declaration, and none is inst"),
        ("steps.absent:f", "there is no module steps.absent in"),
        ("random:f", "random is a module of Python; rename yours"),
    ],
)
def test_a_missing_module_is_named(tmp_path: Path, reference: str, said: str) -> None:
    written(tmp_path, steps__clean="")
    with pytest.raises(UsageError, match=f"^{KEY} {reference}: {said}"):
        own(tmp_path, reference)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import absent_module\n", "broken.py:1: ModuleNotFoundError: No module named 'absent_"),
        ("x = 1\ndef f(:\n", "broken.py:2: SyntaxError: "),
        ("def g(): 1 / 0\n\ng()\n", "broken.py:1: ZeroDivisionError: division by zero"),
        ("raise ValueError('a\\nb')\n", "broken.py:1: ValueError: a"),
        ("import sys\nsys.exit(3)\n", "broken.py:2: SystemExit: 3"),
        ("raise RuntimeError\n", "broken.py:1: RuntimeError"),
    ],
)
def test_an_error_while_importing_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FolioError) as error:
        own(written(tmp_path, broken=text), "broken:f").loaded()
    assert str(error.value).startswith(f"{KEY} broken:f: cannot be imported: {said}")
    assert "\n" not in str(error.value)


def test_a_missing_function_is_named(tmp_path: Path) -> None:
    written(tmp_path, mine="def tidy(document): ...\nTEXT = 'a'\n")
    with pytest.raises(UsageError, match=r"mine\.py has no function tidi; did you mean tidy\?"):
        own(tmp_path, "mine:tidi").loaded()
    with pytest.raises(UsageError, match=r"mine\.py has no function TEXT"):
        own(tmp_path, "mine:TEXT").loaded()
