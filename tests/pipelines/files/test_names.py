"""Names that are not UTF-8: refused where they would be kept, readable where they are shown."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pipelines.declaration.load import load_spec
from pipelines.errors import FolioError, UsageError, readable
from pipelines.files.home import home_folder
from pipelines.files.names import unsafe
from pipelines.files.small_files import read_object
from pipelines.files.whole_files import write_json, write_whole
from pipelines.run.retraining import retrain_plain
from pipelines.source.locations import mirrored
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import page_state, write_dashboard
from tests.conftest import PLAY, declared
from tests.pipelines.upkeep.test_dashboard import NOW

LATIN1, GBK = os.fsdecode(b"caf\xe9"), os.fsdecode("中文".encode("gbk"))


def test_bytes_that_are_no_text_are_shown_as_numbers() -> None:
    assert readable(LATIN1) == r"caf\xe9" and readable("café 小说 🎬") == "café 小说 🎬"
    assert readable("half a pair: \ud83c") == r"half a pair: \ud83c"
    assert unsafe(LATIN1) == unsafe(GBK) == "is not UTF-8"
    assert str(FolioError(f"{GBK}.txt: empty")).isprintable()


def test_small_files_hold_any_name(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"error": f"{LATIN1}: empty", LATIN1: [GBK, "\\ \ud83c"]})
    found = read_object(tmp_path / "a.json")
    assert found["error"] == r"caf\xe9: empty" and found[r"caf\xe9"][1] == r"\ \ud83c"
    write_whole(tmp_path / "a.html", f"<p>{LATIN1}")
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == r"<p>caf\xe9"
    write_json(tmp_path / "b.json", fine := {"name": "café\n"})
    assert (tmp_path / "b.json").read_text(encoding="utf-8") == json.dumps(
        fine, indent=1, ensure_ascii=False
    )


@pytest.mark.parametrize("name", [LATIN1, GBK], ids=["latin1", "gbk"])
def test_a_path_that_is_not_utf8_is_refused_in_one_line(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setenv("FOLIO_HOME", str(folder / "home"))
    monkeypatch.setenv("HOME", str(folder))
    fine, odd = declared(tmp_path, "fine", PLAY), declared(folder, "odd", PLAY)
    for refused in (
        lambda: load_spec(str(odd)),
        lambda: load_spec(str(fine), overrides=("source.path=~/texts",)),
        home_folder,
        lambda: mirrored("a.txt", str(folder)),
    ):
        with pytest.raises(UsageError, match="the path is not UTF-8; rename") as error:
            refused()
        assert str(error.value).isprintable()


def test_one_bad_name_leaves_the_dashboard_of_the_others(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    path = declared(tmp_path, "play", PLAY.replace("{samples}/play.txt", "texts"))
    settings, texts_of = Settings.at(tmp_path / "home"), texts / "one.txt"
    texts_of.write_text("a text\n")
    retrain_plain(str(path), settings=settings, notice=print, **only_source())
    (texts / f"{LATIN1}.txt").write_text("another\n")
    with pytest.raises(UsageError, match=r"its name is not UTF-8; rename it"):
        retrain_plain(str(path), settings=settings, notice=print, **only_source())
    page = write_dashboard(settings).read_text(encoding="utf-8")
    assert "is not UTF-8; rename it" in page and "shakespeare" in page


def only_source() -> dict:
    from pipelines.run.options import Selection

    return {"selection": Selection.of(until="source")}


def test_one_unexpected_error_leaves_the_dashboard_of_the_others(
    trained: Settings, tmp_path: Path
) -> None:
    settings = Settings.at(tmp_path / "home")
    record = next(record for record in trained.runs if record["pipeline"] == "tiny-play")
    declared = tmp_path / "not-a-text" / "tiny-play.yaml"
    settings.runs.save(record | {"declared": f"{declared}\0"})  # no path has a zero byte
    state = page_state(settings, NOW)
    broken = next(one for one in state["pipelines"] if one["pipeline"] == "tiny-play")
    assert broken["plan"]["stages"] is None and broken["plan"]["unknown"]
    whole = next(one for one in state["pipelines"] if one["pipeline"] == "shakespeare")
    assert whole["title"]
