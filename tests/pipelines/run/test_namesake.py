"""Two declarations of one name in one home: the second does not take the first one's place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.run.namesake import refuse_namesake
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from tests.conftest import PLAY, PROJECT, declared

OWN = PLAY.replace("{samples}/play.txt", "text.txt")


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings.at(tmp_path / "home")


def project(folder: Path, text: str = OWN, name: str = "letters") -> str:
    """A folder with a text of its own and a declaration."""
    folder.mkdir(exist_ok=True)
    (folder / "text.txt").write_text(f"The text of {folder.name}.\n")
    return str(declared(folder, name, text))


def run(path: str, home: Settings) -> None:
    until = Selection.of(until="source")
    retrain_plain(path, settings=home, selection=until, notice=lambda text: None)


def test_another_project_with_the_name_is_refused(tmp_path: Path, home: Settings) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "two")
    run(one, home)
    with pytest.raises(UsageError) as error:
        run(two, home)
    said = str(error.value)
    assert said.startswith(f"{two}: the name letters belongs to another declaration, {one}, ")
    assert "`name: letters-2`" in said and "\n" not in said
    with pytest.raises(UsageError, match="belongs to another declaration"):
        refuse_namesake(two, home)  # as `folio plan` does
    assert len(list(home.runs)) == 1
    run(one, home)  # as before


def test_a_declared_name_is_meant(tmp_path: Path, home: Settings) -> None:
    run(project(tmp_path / "one"), home)
    run(project(tmp_path / "two", f"name: others\n{OWN}"), home)
    run(project(tmp_path / "three", f"name: letters\n{OWN}"), home)
    run(str(tmp_path / "one" / "letters.yaml"), home)  # goes on
    ran = sorted(record["pipeline"] for record in home.runs)
    assert ran == ["letters", "letters", "letters", "others"]


def test_names_of_files_may_differ_when_the_names_declared_do_not(
    tmp_path: Path, home: Settings
) -> None:
    run(project(tmp_path / "one", f"name: letters\n{OWN}", "any-file"), home)
    with pytest.raises(UsageError, match=r"letters belongs to another .*any-file\.yaml"):
        run(project(tmp_path / "two"), home)


def test_what_was_moved_copied_or_changed_in_place_goes_on(tmp_path: Path, home: Settings) -> None:
    one = project(tmp_path / "one")
    run(one, home)
    project(tmp_path / "one", OWN.replace("units: [11]", "units: [12]"))
    run(one, home)
    shutil.move(tmp_path / "one", tmp_path / "moved")
    run(str(tmp_path / "moved" / "letters.yaml"), home)
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    run(str(tmp_path / "link" / "letters.yaml"), home)
    absolute = OWN.replace("text.txt", str(tmp_path / "moved" / "text.txt"))
    run(project(tmp_path / "moved", absolute), home)
    run(project(tmp_path / "copied", absolute), home)


def test_a_renamed_declaration_leaves_its_name(tmp_path: Path, home: Settings) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "two")
    run(one, home)
    project(tmp_path / "one", f"name: renamed\n{OWN}")
    run(two, home)


def test_a_name_of_the_catalog_is_the_catalogs(tmp_path: Path, home: Settings) -> None:
    sample = PROJECT / "data" / "samples" / "play.txt"
    until = Selection.of(until="source")
    retrain_plain("shakespeare", None, (f"source.path={sample}",), settings=home, selection=until)
    with pytest.raises(UsageError, match="shakespeare belongs to another declaration, shakespeare"):
        run(project(tmp_path / "own", OWN, "shakespeare"), home)
