"""A source folder that contains what Folio writes would be copied with each run's copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.run.options import Selection
from pipelines.run.plan import plan
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from tests.conftest import PLAY, declared

SOURCE = Selection.of(until="source")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a text, whose declaration reads the whole folder."""
    folder = tmp_path / "project"
    (folder / "texts").mkdir(parents=True)
    (folder / "texts" / "one.txt").write_text("one\n")
    text = PLAY.replace("path: {samples}/play.txt", "path: .").replace(
        "reader: text, split: contiguous", 'reader: files, glob: "**/*.txt", split: contiguous'
    )
    return declared(folder, "all-texts", text)


def refused(path: Path, settings: Settings, source: Path | str = ".") -> str:
    """What planning and running say."""
    from tests.conftest import spec_of

    given = (f"source.path={source}",) if source != "." else ()
    said = []
    for tried in (
        lambda: plan(spec_of(path, *given), settings, SOURCE),
        lambda: retrain_plain(
            str(path), None, given, settings=settings, notice=print, selection=SOURCE
        ),
    ):
        with pytest.raises(UsageError) as error:
            tried()
        said.append(str(error.value))
    assert said[0] == said[1] and "\n" not in said[0]
    assert not any(settings.store.root.glob("source/[!.]*"))
    return said[0]


@pytest.mark.parametrize("home", ["home", "texts/deep/home", "."])
def test_a_folder_with_the_home_is_refused(project: Path, home: str) -> None:
    said = refused(project, Settings.at(project.parent / home))
    assert "contains the home" in said and "folder of their own" in said


def test_files_that_a_pattern_matches(project: Path) -> None:
    """Several files by one path: only they are copied, and only they are in the key."""
    folder = project.parent
    (folder / "texts" / "deep").mkdir()
    for name in ("texts/two.txt", "texts/deep/three.txt", "texts/other.md", "more.txt"):
        (folder / name).write_text(f"{name}\n" * 9)
    settings = Settings.at(folder / "home")  # beside the texts, which the pattern leaves out

    def keys(pattern: str) -> tuple[list[str], str]:
        changed = (f"source.path={folder}/{pattern}", "corpus.glob='**/*'")
        record = retrain_plain(
            str(project),
            None,
            changed,
            settings=settings,
            notice=lambda text: None,
            selection=SOURCE,
        )
        artifact = settings.store.open("source", record["stages"][0]["key"])
        return sorted(artifact.manifest["files"]), artifact.key

    found, key = keys("texts/*.txt")
    assert found == ["one.txt", "two.txt"]
    (folder / "texts" / "other.md").write_text("changed")
    assert keys("texts/*.txt")[1] == key
    (folder / "texts" / "two.txt").write_text("changed")
    assert keys("texts/*.txt")[1] != key
    assert keys("t*/**/*.txt")[0] == ["texts/deep/three.txt", "texts/one.txt", "texts/two.txt"]
    said = refused(project, Settings.at(folder / "other"), f"{folder}/nothing/*.txt")
    assert "matches no file" in said


def test_a_pattern_that_matches_what_a_run_writes(project: Path) -> None:
    settings = Settings.at(project.parent / "home")
    (settings.store.root / "x").mkdir(parents=True)
    (settings.store.root / "x" / "y.txt").write_text("x")
    assert "is in the store" in refused(project, settings, f"{project.parent}/**/*.txt")


def test_links_do_not_hide_the_home(project: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project.parent)
    (tmp_path / "away").symlink_to(project.parent / "texts")
    settings = Settings.at(tmp_path / "away" / "home")  # a home that is not made yet
    assert "contains the home" in refused(project, settings, tmp_path / "link")
    (tmp_path / "real").mkdir()
    (project.parent / "home").symlink_to(tmp_path / "real")
    said = refused_link(project, Settings.at(project.parent / "home"))
    assert "a link to" in said


def refused_link(path: Path, settings: Settings) -> str:
    from pipelines.errors import FolioError

    with pytest.raises(FolioError) as error:
        retrain_plain(str(path), settings=settings, notice=print, selection=SOURCE)
    return str(error.value)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_folder_with_the_shared_store_is_refused(
    project: Path, tmp_path: Path, scheme: str
) -> None:
    shared = project.parent / "texts" / "shared store"
    settings = Settings.at(tmp_path / "home", f"{scheme}{shared}")
    assert "contains the shared store" in refused(project, settings)
    shared.mkdir()
    assert "is in the shared store" in refused(project, settings, made(shared / "source"))


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_the_store_itself_is_refused(project: Path, tmp_path: Path) -> None:
    settings = Settings.at(tmp_path / "home")
    (settings.store.root / "corpus").mkdir(parents=True)
    assert "is in the store" in refused(project, settings, settings.store.root / "corpus")


def test_other_folders_are_copied_once(project: Path, tmp_path: Path) -> None:
    """Beside the home, with a name that starts alike, and in the home beside the store."""
    settings = Settings.at(tmp_path / "project-home")
    mine = made(made(settings.home) / "mine")
    (mine / "two.txt").write_text("two\n")
    for given in ((), (f"source.path={mine}",)):
        for action in ("run", "reuse"):
            record = retrain_plain(
                str(project), None, given, settings=settings, notice=print, selection=SOURCE
            )
            assert [stage["action"] for stage in record["stages"]] == [action]
