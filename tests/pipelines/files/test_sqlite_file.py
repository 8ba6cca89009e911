"""A database is made at its path, whatever signs that has, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from pipelines.files.sqlite_file import address_of, is_plain, path_of, read_only
from pipelines.registry.mlflow_access import is_own, mlflow_at
from pipelines.registry.versions import versions
from pipelines.run.search import _study

SIGNS = [
    "why?",
    "a?uri=false",
    "#1",
    "50%",
    "%41",
    "{x}",
    "a b&c;d",
    'it\'s "one"',
    "日本",
    "file:x",
]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with all of them in its name, in one that has nothing else."""
    folder = tmp_path / "all" / "".join(SIGNS)
    folder.mkdir(parents=True)
    return folder


def alone(folder: Path) -> bool:
    return list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("sign", SIGNS)
def test_sqlalchemy_makes_it_at_the_path(
    tmp_path: Path, sign: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import create_engine, text

    folder, here = tmp_path / "all" / sign, tmp_path / "here"
    folder.mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    path = folder / "one.db"
    engine = create_engine(address_of(path))
    with engine.begin() as connection:
        connection.execute(text("create table found (x integer)"))
    engine.dispose()
    with read_only(path, 1) as database:
        assert database.execute("select name from sqlite_master").fetchall() == [("found",)]
    assert alone(folder) and list(folder.iterdir()) == [path] and not list(here.iterdir())


@given(some.text(some.characters(blacklist_categories=["Cs"], blacklist_characters="\0")))
@example("a?uri=true")
@example("%3F")
def test_the_path_is_found_again(name: str) -> None:
    path = Path("/") / f"home{name}" / "mlflow.db"
    assert path_of(address_of(path)) == path
    assert address_of(path, "sqlite+aiosqlite").partition(":///")[2].count("?") <= 1


def test_paths_without_such_signs_keep_their_addresses() -> None:
    path = Path("/home/zoë/my texts_2/data-1,@x/mlflow.db")
    assert is_plain(path) and address_of(path) == f"sqlite:///{path}"
    for other in ("postgresql://u:p@h/db", "http://h:5000", "sqlite", "mysql+pymysql://h/db"):
        assert path_of(other) is None
    assert path_of("sqlite:////a/b.db?timeout=3") == Path("/a/b.db")


@pytest.mark.slow
def test_mlflow_and_optuna_make_theirs_in_the_home(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    with mlflow_at(odd) as (_, client):
        client.create_registered_model("play")
        client.create_model_version("play", (odd / "play").as_uri())
    assert is_own(odd) and (odd / "mlflow" / "mlflow.db").is_file()
    (version,) = versions(odd)
    assert (version.name, version.folder) == ("play", odd / "play")
    _study(odd / "trials.db", "accuracy")
    assert {path.name for path in odd.iterdir()} == {"mlflow", "trials.db"}
    assert alone(odd) and set(tmp_path.iterdir()) == before
