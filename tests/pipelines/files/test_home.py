"""Where the home is, and who may get at what lies there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.files.home import home_folder, made, private_files, users_files, why_closed
from pipelines.files.machine import refusal_of
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from pipelines.upkeep import home_modes
from pipelines.upkeep.home_modes import close_to_others, open_to_others
from pipelines.upkeep.store_health import modes


@pytest.fixture(autouse=True)
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The umask that most users have."""
    monkeypatch.delenv("FOLIO_SHARED_HOME", raising=False)
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("", "FOLIO_HOME is empty; set it to a folder"),
        ("  ", "FOLIO_HOME is empty; set it to a folder"),
        ("{here}/file", "FOLIO_HOME={here}/file: {here}/file is a file, not a folder"),
        ("{here}/file/below", "FOLIO_HOME={here}/file/below: {here}/file is a file, not a folder"),
        ("{here}/link", "FOLIO_HOME={here}/link: {here}/link is a link to nothing"),
        ("~no-such-user/home", "FOLIO_HOME=~no-such-user/home: there is no such user"),
    ],
)
def test_a_home_that_cannot_be_one_is_refused_by_its_name(
    given: str, part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    monkeypatch.setenv("FOLIO_HOME", given.format(here=tmp_path))
    with pytest.raises(UsageError) as refused:
        home_folder()
    assert str(refused.value).startswith(part.format(here=tmp_path))
    assert len(str(refused.value).splitlines()) == 1


def test_a_home_need_not_be_there_and_may_be_a_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("new", "new/below", "link", "link/new"):
        monkeypatch.setenv("FOLIO_HOME", str(tmp_path / name))
        assert home_folder() == tmp_path / name


@pytest.mark.parametrize("home", ["/proc/folio/home", "/sys/folio", "{here}/" + 300 * "n"])
def test_a_home_that_cannot_be_made_is_named(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home.format(here=tmp_path)
    monkeypatch.setenv("FOLIO_HOME", home)
    told = why_closed(home_folder())
    if told is None:  # root may write in those folders, as far as permissions go
        with pytest.raises(OSError) as refused:
            made(home_folder() / "runs")
        told = refusal_of(refused.value)
    assert told is not None and told.startswith(f"FOLIO_HOME={home}: the home cannot be made")


# Who may read it


def test_a_home_made_by_plain_python_lets_nobody_in(play: Path, tmp_path: Path) -> None:
    home = tmp_path / "above" / "home"
    retrain_plain(
        str(play),
        settings=Settings.at(home),
        selection=Selection.of(until="corpus"),
        notice=lambda text: None,
    )
    assert mode(home) == 0o700
    folders = [path for path in home.glob("*") if path.is_dir()]
    assert {path.name for path in folders} == {"store", "runs"}
    assert {mode(path) for path in folders} == {0o700}
    assert open_to_others(home) == []


def test_what_is_asked_for_elsewhere_keeps_the_users_own_umask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = made(tmp_path / "home")
    monkeypatch.setenv("FOLIO_HOME", str(home))
    os.umask(0o027)
    with private_files():
        (home / "own").touch()
        with users_files(tmp_path / "asked"):
            (tmp_path / "asked").touch()
        with users_files(home / "scored"):
            (home / "scored").touch()
        with private_files():  # of a flow that the command line calls
            (home / "again").touch()
            with users_files(tmp_path / "too"):
                (tmp_path / "too").touch()
    assert {mode(home / name) for name in ("own", "scored", "again")} == {0o600}
    assert {mode(tmp_path / name) for name in ("asked", "too")} == {0o640}
    assert os.umask(0o022) == 0o027
    assert "_FOLIO_USERS_UMASK" not in os.environ


def test_a_shared_home_is_its_groups_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIO_SHARED_HOME", "group")
    with private_files():
        folder = made(tmp_path / "home" / "runs")
        (folder / "new").touch()
        (folder / "below").mkdir()
    assert {mode(tmp_path / "home"), mode(folder), mode(folder / "below")} == {0o2770}
    assert mode(folder / "new") == 0o660
    assert open_to_others(tmp_path / "home") == []
    monkeypatch.setenv("FOLIO_SHARED_HOME", "all")
    with pytest.raises(UsageError, match="FOLIO_SHARED_HOME=all: use group"):
        made(tmp_path / "other")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A home as Folio made it before, with a link out of it, and one to a file in it."""
    home = tmp_path / "old"
    (home / "runs").mkdir(parents=True)
    (home / "runs" / "record.json").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    (home / "out").symlink_to(tmp_path / "elsewhere")
    (home / "runs" / "link.json").symlink_to(tmp_path / "elsewhere" / "file")
    os.mkfifo(home / "pipe")
    return home


def test_an_old_home_is_found_open_and_closed_without_following_links(
    old: Path, tmp_path: Path
) -> None:
    wrong = [old, old / "runs", old / "runs" / "record.json"]
    assert sorted(open_to_others(old)) == wrong
    assert close_to_others(old) == 3
    assert [mode(path) for path in wrong] == [0o700, 0o700, 0o600]
    assert (mode(tmp_path / "elsewhere"), mode(tmp_path / "elsewhere" / "file")) == (0o755, 0o644)
    assert open_to_others(old) == [] and close_to_others(old) == 0


def test_doctor_reports_an_open_home_and_closes_it(old: Path) -> None:
    (found,) = modes(old)
    assert (found.check, found.state) == ("modes", "warning")
    assert found.text == f"3 of the home's folders and files that others can read, such as {old}"
    assert found.repair is not None
    assert found.repair() == f"set the permissions of 3 folders and files of {old}"
    assert list(modes(old)) == []


def test_what_nobody_can_reach_is_not_reported_but_closed_all_the_same(old: Path) -> None:
    old.chmod(0o700)
    assert open_to_others(old) == []
    assert close_to_others(old) == 2
    assert mode(old / "runs" / "record.json") == 0o600


def test_a_home_that_is_still_to_be_made_is_open_to_nobody(tmp_path: Path) -> None:
    assert open_to_others(tmp_path / "new") == [] and close_to_others(tmp_path / "new") == 0


def test_a_home_behind_a_link_is_closed(old: Path, tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to(old)
    assert len(open_to_others(tmp_path / "home")) == close_to_others(tmp_path / "home") == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_another_user_owns_is_left_alone(old: Path) -> None:
    os.chown(old / "runs" / "record.json", 65534, 65534)
    assert sorted(open_to_others(old)) == [old, old / "runs"]
    close_to_others(old)
    assert mode(old / "runs" / "record.json") == 0o644


def test_a_home_becomes_its_groups(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLIO_SHARED_HOME", "group")
    assert close_to_others(old) == 3
    assert [mode(path) for path in (old, old / "runs", old / "runs" / "record.json")] == [
        0o2770,
        0o2770,
        0o660,
    ]


def test_what_is_committed_in_the_default_home_stays_readable(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old / "samples").mkdir()
    (old / "samples" / "play.txt").touch()
    (old / "README.md").touch()
    monkeypatch.setattr(home_modes, "DEFAULT", old)
    assert sorted(open_to_others(old)) == [old / "runs", old / "runs" / "record.json"]
    close_to_others(old)
    assert [
        mode(path)
        for path in (old, old / "samples", old / "samples" / "play.txt", old / "README.md")
    ] == [0o755, 0o755, 0o644, 0o644]
