"""The dashboard shows the runs that are active when it is asked for, and reloads itself."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import httpx

from flows.web.home_pages import FIRST, served
from pipelines.store.live_progress import noted
from pipelines.store.live_runs import living
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import write_dashboard
from pipelines.upkeep.running import IDLE_SECONDS, RELOAD_SECONDS, reloading, running

RUN = "20260101-000000-tiny-abcdef"
RECORD = {"run": RUN, "pipeline": "tiny", "started": "2026-01-01T00:00:00Z"}


def test_an_active_run_is_described(tmp_path: Path) -> None:
    assert running(tmp_path) == []
    with living(tmp_path, RECORD), living(tmp_path, {**RECORD, "run": "part", "part_of": RUN}):
        (one,) = running(tmp_path)
        assert one == {**RECORD, "stage": None, "share": None, "text": "", "left": None}
        noted(tmp_path, RUN, "model", lambda *given: None)(30, 120, "steps · epoch 1/4 · loss 1.5")
        (one,) = running(tmp_path)
        assert (one["stage"], one["share"]) == ("model", 0.25)
        assert one["text"] == "30 of 120 steps · epoch 1/4 · loss 1.5"


def test_the_served_page_shows_it_and_the_file_stays(tmp_path: Path) -> None:
    settings = Settings.at(tmp_path)
    page, runs = write_dashboard(settings), settings.runs.folder
    written = page.read_bytes()
    assert page == tmp_path / FIRST.lstrip("/") and b'http-equiv="refresh' not in written
    hostile = {**RECORD, "pipeline": "<script>alert(1)</script>"}
    with served(tmp_path, 0, partial(reloading, page, runs)) as address:

        def shown() -> str:
            found = httpx.get(address + FIRST)
            assert found.headers["content-type"] == "text/html; charset=utf-8"
            return found.text

        assert f'content="{IDLE_SECONDS}"' in shown() and "Running now" not in shown()
        with living(runs, hostile):
            noted(runs, RUN, "model", lambda *given: None)(30, 120, "steps · epoch 1/4 · <b>")
            text = shown()
            assert f'<meta http-equiv="refresh" content="{RELOAD_SECONDS}">' in text
            assert "30 of 120 steps · epoch 1/4 · &lt;b&gt;" in text and "<script" not in text
            assert re.search(r'<progress max="1" value="0.25">', text)
        assert "Running now" not in shown()
        assert httpx.get(address + "/store/nothing").status_code == 404
    assert page.read_bytes() == written


def test_the_file_itself_shows_the_runs_of_its_moment(tmp_path: Path) -> None:
    settings = Settings.at(tmp_path)
    with living(settings.runs.folder, RECORD):
        assert "Running now" in write_dashboard(settings).read_text()
    assert "Running now" not in write_dashboard(settings).read_text()
