"""What the pages tell people to type exists: the commands, their options, the variables."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "README.ja.md", *sorted((PROJECT / "docs").glob("*.md"))]
OPERATING = PROJECT / "docs" / "operating.md"
CODE = re.compile(r"^```\w*\n(.*?)^```|^    (.+?)$|`([^`\n]+)`", re.DOTALL | re.MULTILINE)
BEFORE = re.compile(r"^(\$ |ExecStart=|sudo -u \w+ )")
PLACEHOLDER = re.compile(r"[A-Z]+|[^\x00-\x7f]+")
VARIABLE = re.compile(r"\b(?:PREFECT|MLFLOW)_[A-Z]+(?:_[A-Z]+)*\b")
PACKAGES = ("folio", "flows", "tasks", "pipelines")


def commands_of(text: str) -> Iterator[list[str]]:
    """The words of each command in a page's code; what explains it at the line's end is left."""
    for found in CODE.finditer(text):
        if found[0].startswith("```mermaid"):  # a drawing, in which folio is a package
            continue
        for line in re.sub(r"\\\n\s*", "", "".join(filter(None, found.groups()))).splitlines():
            bare = re.split(r"\s{2,}", BEFORE.sub("", line.strip()))[0]
            for command in re.split(r" · | && ", bare):
                words = words_of(command)
                if words:
                    yield [Path(words[0]).name, *words[1:]]


def words_of(command: str) -> list[str]:
    try:
        return shlex.split(command, comments=True)
    except ValueError:  # an apostrophe: prose or a program, no command
        return []


def wrong_folio(words: list[str]) -> str | None:
    import typer
    from typer.main import get_command

    from flows.cli.main import app

    return wrong_click(get_command(app), words, typer.Context)


def wrong_mlflow(words: list[str]) -> str | None:
    import click
    from mlflow.cli import cli

    return wrong_click(cli, words, click.Context)


def wrong_click(command: Any, words: list[str], context: Callable[..., Any]) -> str | None:
    """Why a command of click's cannot be called so, or None. Values are not looked at."""
    name, words = words[0], list(words[1:])
    while hasattr(command, "commands"):
        if not words or PLACEHOLDER.fullmatch(words[0]) or words[0] == "--help":
            return None
        if words[0].startswith("-"):  # an option before any command
            break
        name = f"{name} {words[0]}"
        command = command.commands.get(words.pop(0))
        if command is None:
            return "no such command"
    try:
        command.make_parser(context(command, info_name=name)).parse_args(words)
    except Exception as error:
        return getattr(error, "message", None) or repr(error)
    return None


def wrong_prefect(words: list[str]) -> str | None:
    from cyclopts.exceptions import UnknownCommandError, UnknownOptionError
    from prefect.cli._app import _app

    given = [word for word in words[1:] if word != "--no-prompt"]
    try:
        _app.parse_args(given, print_error=False, exit_on_error=False)
    except (UnknownCommandError, UnknownOptionError) as error:
        return str(error)
    except Exception:  # a placeholder where an id belongs
        return None
    return None


def wrong_module(words: list[str]) -> str | None:
    if words[1:2] != ["-m"] or not (PROJECT / words[2].split(".")[0]).is_dir():
        return None  # not ours
    named = PROJECT.joinpath(*words[2].split("."))
    path = named / "__main__.py" if named.is_dir() else named.with_suffix(".py")
    if not path.is_file():
        return "no such module"
    return None if "__main__" in path.read_text(encoding="utf-8") else "it does nothing when run"


CHECKS = {
    "folio": wrong_folio,
    "mlflow": wrong_mlflow,
    "prefect": wrong_prefect,
    "python": wrong_module,
}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_command_on_the_page_can_be_called_so(page: Path) -> None:
    wrong = {}
    for words in commands_of(page.read_text(encoding="utf-8")):
        if words[0] in CHECKS and (problem := CHECKS[words[0]](words)):
            wrong[shlex.join(words)] = problem
    assert wrong == {}


@pytest.mark.slow  # imports Prefect and MLflow
def test_wrong_commands_are_noticed() -> None:
    page = """
    $ folio runn imdb                           misspelt
    folio run imdb --profil quick && prefect work-pool create gpu --tipe docker
`mlflow serve`, `prefect flow-run remove ID`, `python -m flows.nothing`, `folio plan imdb`
```ini
ExecStart=/opt/folio/.venv/bin/prefect worker start --pool gpu --times 1
```
"""
    found = [words for words in commands_of(page) if words[0] in CHECKS]
    assert len(found) == 8
    assert [words[:3] for words in found if CHECKS[words[0]](words) is None] == [
        ["folio", "plan", "imdb"]
    ]


# Variables


def names_in_code() -> set[str]:
    """The FOLIO_… variables that the code names, and all that it reads from the environment."""
    named: set[str] = set()
    for path in sorted(path for package in PACKAGES for path in (PROJECT / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        nodes = ast.walk(ast.parse(text)) if "FOLIO_" in text or "environ" in text else ()
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named |= set(re.findall(r"^FOLIO_[A-Z_]+$", node.value))
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.get":
                named |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return named


def test_each_variable_that_is_read_is_in_the_table_and_no_other() -> None:
    section = OPERATING.read_text(encoding="utf-8").split("\n## Variables\n")[1].split("\n## ")[0]
    tables = [re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for table in section.split("\n\n")]
    ours, others = (
        {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
        for table in tables
        if table
    )
    assert ours == names_in_code()
    assert not ours & others


@pytest.mark.slow  # imports Prefect and MLflow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_of_prefect_and_mlflow_are_known_to_them(page: Path) -> None:
    named = set(VARIABLE.findall(page.read_text(encoding="utf-8")))
    assert named - known_to_prefect() - known_to_mlflow() == set()


def known_to_prefect() -> set[str]:
    from prefect.settings.legacy import _get_valid_setting_names
    from prefect.settings.models.root import Settings

    return set(_get_valid_setting_names(Settings))


def known_to_mlflow() -> set[str]:
    from mlflow import environment_variables
    from mlflow.cli import cli

    options = {option.envvar for command in cli.commands.values() for option in command.params}
    return {name for name in vars(environment_variables) if name.startswith("MLFLOW_")} | options
