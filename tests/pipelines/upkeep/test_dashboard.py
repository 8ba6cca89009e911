"""The dashboard on a home with two trained pipelines: true, whole, safe, and alone."""

from __future__ import annotations

import re
import shutil
import threading
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from pipelines.declaration.catalog import shipped_names
from pipelines.declaration.load import load_spec
from pipelines.declaration.spec import ScheduleSpec
from pipelines.errors import FolioError
from pipelines.report.page import shown_figure
from pipelines.report.visible import UNSEEN
from pipelines.run.plan import plan
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from pipelines.upkeep import dashboard
from pipelines.upkeep.dashboard import (
    dashboard_after,
    page_state,
    report_link,
    write_dashboard,
    write_page,
)
from tests.conftest import PLAY, PROJECT

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOSTILE = "</p><script src=http://evil.example/x.js>alert('1')</script>\x07\x1b[2J\u202e\r\ud800"


@pytest.fixture
def home(trained: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(trained.home, tmp_path / "home")
    return Settings.at(tmp_path / "home")


def of(state: dict[str, Any], pipeline: str) -> dict[str, Any]:
    return next(one for one in state["pipelines"] if one["pipeline"] == pipeline)


class Page(HTMLParser):
    """What a page opens, where it points to, and what a person reads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_tells_of_each_pipeline_and_run(home: Settings) -> None:
    page = Page(write_dashboard(home))
    state = page_state(home, NOW)
    assert [one["pipeline"] for one in state["pipelines"]] == [
        "tiny-play",
        "tiny-reviews",
        *shipped_names(),
    ]
    for name in ("tiny-play", "tiny-reviews"):
        one = of(state, name)
        assert one["champion"]["version"] == 1 and one["title"] in page.text
        assert shown_figure(one["champion"]["value"], one["metric"]) in page.text
        assert f"against counting: {one['champion']['baseline']}" in page.text
    for run in state["runs"]:
        assert run["run"] in page.text
    assert page.tags.count("svg") == 2 and page.text.count("Nothing to do") == 2
    assert "no scheduled run yet" in page.text and "no schedule" in page.text


def test_the_page_asks_nothing_of_anyone(home: Settings) -> None:
    path = write_dashboard(home)
    page, source = Page(path), path.read_text(encoding="utf-8")
    assert "script" not in page.tags and "img" not in page.tags
    assert not re.search(r"https?:|url\(|@import|\son\w+=|javascript:", source)
    assert "default-src 'none'; style-src 'unsafe-inline'" in source
    targets = [link for link in page.links if not link.startswith("#")]
    assert len(targets) == 2
    for link in targets:
        assert (path.parent / unquote(link)).read_text(encoding="utf-8").endswith("</html>")


def test_the_plan_is_what_folio_plan_says(home: Settings, play: Path) -> None:
    spec = load_spec(str(play))
    said = [decision.as_json() for decision in plan(spec, home)]
    assert of(page_state(home, NOW), "tiny-play")["plan"] == {
        "profile": "full",
        "stages": said,
        "unknown": None,
    }
    path = next((home.home / "store" / "tokens").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    state = page_state(home, NOW)
    broken = [
        stage
        for name in ("tiny-play", "tiny-reviews")
        for stage in of(state, name)["plan"]["stages"]
        if stage["action"] == "rebuild"
    ]
    assert [(stage["stage"], path.name in stage["reason"]) for stage in broken] == [
        ("tokens", True)
    ]


def test_a_look_reads_no_file_of_the_store(home: Settings) -> None:
    path = next((home.home / "store" / "batches").rglob("*.parquet"))
    path.write_bytes(bytes(path.stat().st_size))
    state = page_state(home, NOW)
    for name in ("tiny-play", "tiny-reviews"):
        assert {stage["action"] for stage in of(state, name)["plan"]["stages"]} == {"reuse"}


@pytest.mark.long
def test_the_scheduled_profile_is_planned_and_waited_for(home: Settings, tmp_path: Path) -> None:
    declared = tmp_path / "nightly.yaml"
    declared.write_text(
        PLAY.format(samples=PROJECT / "data" / "samples")
        + (
            'schedule: {cron: "0 3 * * *", timezone: Asia/Tokyo, profile: night}\n'
            "profiles: {night: {training.epochs: 1}}\n"
        ),
        encoding="utf-8",
    )
    record = retrain_plain(str(declared), "night", settings=home, notice=lambda text: None)
    began = datetime.fromisoformat(record["started"])
    one = of(page_state(home, began), "nightly")
    assert (
        one["schedule"]
        == ScheduleSpec(cron="0 3 * * *", timezone="Asia/Tokyo", profile="night").model_dump()
    )
    assert one["freshness"]["state"] == "fresh" and one["plan"]["profile"] == "night"
    assert {stage["action"] for stage in one["plan"]["stages"]} == {"reuse"}
    later = page_state(home, began.replace(year=began.year + 1))
    assert of(later, "nightly")["freshness"]["state"] == "late"
    (note,) = [note for note in later["attention"] if note["pipeline"] == "nightly"]
    assert note["text"].startswith("is late: a run was due ")
    assert note["text"].endswith(record["started"][:16].replace("T", " "))


def test_a_declaration_that_is_gone_leaves_the_rest(home: Settings, tmp_path: Path) -> None:
    record = next(iter(home.runs))
    gone = str(tmp_path / "gone.yaml")
    home.runs.save(record | {"run": "z-gone", "pipeline": "gone", "declared": gone})
    home.runs.save(
        {key: value for key, value in record.items() if key not in ("declared", "overrides")}
        | {"run": "z-older", "pipeline": "older"}
    )
    state = page_state(home, NOW)
    assert of(state, "gone")["plan"] == {
        "profile": "full",
        "stages": None,
        "unknown": f"{gone}: no such declaration; give the path of a YAML file",
    }
    assert of(state, "older")["plan"]["unknown"].startswith("older.yaml: no such declaration")
    assert "The plan is unknown: older.yaml" in Page(write_page(home.home, state)).text


def test_whatever_a_record_says_is_shown_as_text(home: Settings) -> None:
    record = next(iter(home.runs))
    hostile = dict.fromkeys(("pipeline", "profile", "error", "run"), HOSTILE)
    stages = [
        {
            "stage": HOSTILE,
            "action": HOSTILE,
            "reason": HOSTILE,
            "seconds": 1.0,
            "path": HOSTILE,
            "key": None,
        }
    ]
    state = page_state(home, NOW)
    state["runs"].insert(
        0,
        record
        | hostile
        | {"state": "failed", "stages": stages, "overrides": [HOSTILE], "report": HOSTILE},
    )
    state["attention"].append({"pipeline": HOSTILE, "text": HOSTILE})
    one = of(state, "tiny-play")
    one |= {"title": HOSTILE, "schedule": dict.fromkeys(("cron", "timezone", "profile"), HOSTILE)}
    one["plan"] = {"profile": HOSTILE, "stages": None, "unknown": HOSTILE}
    one["versions"][0] |= {"verdict": HOSTILE, "reason": HOSTILE, "baseline": HOSTILE}
    path = write_page(home.home, state)
    page = Page(path)
    assert "script" not in page.tags and not any(
        "evil" in link for link in page.links if not link.startswith("#")
    )
    assert page.text.count("alert('1')") >= 10
    source = path.read_text(encoding="utf-8")
    assert not UNSEEN.search(source) and source.count("\\x07\\x1b[2J\\u202e\\r\\ud800") >= 10


def test_a_failed_run_wants_attention(home: Settings) -> None:
    record = next(iter(home.runs))
    home.runs.save(record | {"run": "z-failed", "state": "failed", "error": "the disk is on fire"})
    (note,) = page_state(home, NOW)["attention"]
    assert note["pipeline"] == record["pipeline"]
    assert note["text"].endswith(": the disk is on fire")


def test_a_full_disk_wants_attention(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard, "LOW_DISK_BYTES", 1e18)
    assert page_state(home, NOW)["attention"] == [
        {"pipeline": None, "text": "the disk is nearly full"}
    ]


def test_small_folders_share_a_row_of_the_disk_table(home: Settings) -> None:
    state = page_state(home, NOW)
    sizes = {"store/model": 700, "mlflow": 280, "logs": 9, "loose": 8}
    folders = [{"name": name, "bytes": size} for name, size in sizes.items()]
    state["disk"] |= {"folders": folders, "total": sum(sizes.values())}
    shown = Page(write_page(home.home, state)).text
    table = shown[shown.rindex("store/model") :]
    assert "280 Bytes" in table and "2 smaller folders" in table and "17 Bytes" in table
    assert "logs" not in table and "loose" not in table


def test_a_broken_registry_is_said_and_the_rest_shown(home: Settings) -> None:
    (home.home / "mlflow" / "mlflow.db").write_bytes(b"no database at all" * 99)
    state = page_state(home, NOW)
    assert "not an MLflow database" in state["attention"][0]["text"]
    text = Page(write_page(home.home, state)).text
    assert "not an MLflow database" in text and state["runs"][0]["run"] in text


def test_a_new_home_has_a_page(tmp_path: Path) -> None:
    text = Page(write_dashboard(Settings.at(tmp_path / "new"))).text
    assert "None yet" in text and all(name in text for name in shipped_names())


def test_links_are_those_of_the_environment(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIO_PREFECT_UI", "http://127.0.0.1:4200/")
    monkeypatch.setenv("FOLIO_MLFLOW_UI", "http://127.0.0.1:5000")
    links = Page(write_dashboard(home)).links
    assert "http://127.0.0.1:4200" in links and "http://127.0.0.1:5000" in links
    assert "http://127.0.0.1:5000/#/models/tiny-play/versions/1" in links
    monkeypatch.setenv("FOLIO_MLFLOW_UI", "javascript:alert(1)")
    with pytest.raises(FolioError, match="FOLIO_MLFLOW_UI=javascript:alert"):
        write_dashboard(home)


def test_a_report_that_is_gone_gets_no_link(home: Settings) -> None:
    record = next(iter(home.runs))
    for entry in record["stages"]:
        if entry["stage"] in ("metrics", "release"):  # where earlier Folios wrote it
            (home.home / "store" / entry["stage"] / entry["key"] / "report.html").write_text("old")
    for stage in ("report", "release", "metrics"):
        link = report_link(record, home.home)
        assert link.startswith(f"../store/{stage}/")
        (home.home / "dashboard" / link).resolve().unlink()
    assert report_link(record, home.home) is None
    assert report_link(record | {"stages": []}, home.home) is None


def test_a_page_that_cannot_be_written_leaves_the_run_alone(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIO_PREFECT_UI", "nowhere")
    said: list[str] = []
    with pytest.raises(ValueError, match="the run's own"), dashboard_after(home, said.append):
        raise ValueError("the run's own")
    (line,) = said
    assert line.startswith("the dashboard was not rewritten: FOLIO_PREFECT_UI=nowhere")
    monkeypatch.delenv("FOLIO_PREFECT_UI")
    with pytest.raises(ValueError, match="another"), dashboard_after(home, said.append):
        raise ValueError("another")
    assert len(said) == 1 and (home.home / "dashboard" / "index.html").is_file()


def test_a_reader_never_sees_half_a_page(home: Settings) -> None:
    state = page_state(home, NOW)
    path = write_page(home.home, state)
    before = path.read_bytes()
    seen, over = set(), threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(path.read_bytes()[-7:])

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(5):
        write_page(home.home, state)
    over.set()
    reader.join()
    assert seen == {b"</html>"}
    with pytest.raises(KeyError):
        write_page(home.home, {key: value for key, value in state.items() if key != "runs"})
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
