"""What a stage's pages say, from real artifacts; and Markdown that holds whatever it is given."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pipelines.report.stage_pages import PICTURE_BYTES, Link, Page, code_block, links, pages, table
from pipelines.report.visible import UNSEEN
from pipelines.stages import stage_named
from pipelines.store.settings import Settings
from tests.conftest import artifact_of
from tests.plain_stages import STAGES, inputs_of

PICTURE = re.compile(r"!\[[\w ]+\]\(data:image/png;base64,([^)]+)\)")


def pages_of(settings: Settings, pipeline: str, stage: str) -> dict[str, Page]:
    inputs = {name: artifact_of(settings, pipeline, name) for name in inputs_of(stage_named(stage))}
    return {page.name: page for page in pages(artifact_of(settings, pipeline, stage), inputs)}


def pictures(text: str) -> list[bytes]:
    return [base64.b64decode(found) for found in PICTURE.findall(text)]


def test_what_is_shown_of_each_stage(trained: Settings) -> None:
    shown = {
        pipeline: {
            stage.name: {
                name: len(pictures(page.text))
                for name, page in pages_of(trained, pipeline, stage.name).items()
            }
            for stage in STAGES
        }
        for pipeline in ("tiny-reviews", "tiny-play")
    }
    everywhere = {
        "source": {},
        "corpus": {"documents": 0},
        "model": {"loss": 1},
        "release": {"verdict": 0},
        "report": {},
    }
    assert shown["tiny-reviews"] == everywhere | {
        "tokens": {"lengths": 1},
        "batches": {"padding": 1},
        "metrics": {"figures": 1},
    }
    assert shown["tiny-play"] == everywhere | {  # one text, of one width: nothing to draw
        "tokens": {"lengths": 0},
        "batches": {"padding": 0},
        "metrics": {"figures": 0, "samples": 0},
    }


@pytest.mark.parametrize(
    ("stage", "name"),
    [("tokens", "lengths"), ("batches", "padding"), ("model", "loss"), ("metrics", "figures")],
)
def test_pictures_are_small_and_show_something(trained: Settings, stage: str, name: str) -> None:
    (png,) = pictures(pages_of(trained, "tiny-reviews", stage)[name].text)
    assert len(png) <= PICTURE_BYTES
    low, high = Image.open(io.BytesIO(png)).convert("L").getextrema()
    assert low < 100 and high == 255


def test_numbers_are_those_of_the_artifacts(trained: Settings) -> None:
    corpus = pages_of(trained, "tiny-reviews", "corpus")["documents"].text
    train = artifact_of(trained, "tiny-reviews", "corpus").counts["splits"]["train"]
    assert "| train | {documents} | {characters:,} | {positives} |".format(**train) in corpus
    assert "| quarantined | 0 |" in corpus
    play = pages_of(trained, "tiny-play", "corpus")["documents"].text
    assert "positive" not in play and "| train | 1 |" in play
    padding = pages_of(trained, "tiny-reviews", "batches")["padding"].text
    counts = artifact_of(trained, "tiny-reviews", "batches").counts["train"]
    assert f"| {counts['slots']:,} | {counts['padding_share']:.1%} |" in padding
    assert all(f"| {one['width']} | {one['rows']} |" in padding for one in counts["per_width"])
    figures = pages_of(trained, "tiny-reviews", "metrics")["figures"].text
    artifact = artifact_of(trained, "tiny-reviews", "metrics")
    accuracy = json.loads((artifact.path / "metrics.json").read_bytes())["headline"]["accuracy"]
    assert f"| Accuracy | {accuracy:.1%} |" in figures
    verdict = pages_of(trained, "tiny-play", "release")["verdict"].text
    assert verdict.startswith("**promote**: ") and "| bits per character |" in verdict


def test_samples_are_shown_as_they_were_written(trained: Settings) -> None:
    text = pages_of(trained, "tiny-play", "metrics")["samples"].text
    artifact = artifact_of(trained, "tiny-play", "metrics")
    samples = json.loads((artifact.path / "metrics.json").read_bytes())["samples"]
    assert len(samples) == 6
    for one in samples:
        assert f"temperature {one['temperature']}, seed {one['seed']}" in text
        assert f"\n{one['start']}{one['text']}\n" in text


@pytest.mark.parametrize(
    "written", ["plain", "```\n# not a heading\n```", "````", "`", "<script>alert(1)</script>", ""]
)
def test_no_text_ends_its_code_block(written: str) -> None:
    first, *lines, last = code_block(written).split("\n")
    assert first == f"{last}text" and set(last) == {"`"} and len(last) >= 3
    assert "\n".join(lines) == written
    assert last not in written


def test_control_characters_are_seen_not_obeyed(trained: Settings, tmp_path: Path) -> None:
    metrics = artifact_of(trained, "tiny-play", "metrics")
    inputs = {name: artifact_of(trained, "tiny-play", name) for name in ("corpus", "tokens")}
    folder = shutil.copytree(metrics.path, tmp_path / "metrics")
    told = json.loads((folder / "metrics.json").read_bytes())
    told["samples"][0]["text"] = "a\x1b[31m\0\rb\tc\u202e"
    (folder / "metrics.json").write_text(json.dumps(told))
    (page,) = [
        page for page in pages(replace(metrics, path=folder), inputs) if page.name == "samples"
    ]
    assert "a\\x1b[31m\\x00\\rb\tc\\u202e\n" in page.text and not UNSEEN.search(page.text)


def test_a_cell_stays_a_cell() -> None:
    assert table(["what", "number"], [["a | b\nc", "1,234"], ["d", "5"]]).split("\n") == [
        "| what | number |",
        "| --- | ---: |",
        "| a \\| b c | 1,234 |",
        "| d | 5 |",
    ]


def test_links_where_the_environment_names_the_pages(
    trained: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = artifact_of(trained, "tiny-play", "report")
    release = artifact_of(trained, "tiny-play", "release")
    for name in ("FOLIO_DASHBOARD", "FOLIO_MLFLOW_UI"):
        monkeypatch.delenv(name, raising=False)
    assert links(report) == links(release) == []
    monkeypatch.setenv("FOLIO_DASHBOARD", "http://127.0.0.1:8080/")
    monkeypatch.setenv("FOLIO_MLFLOW_UI", "http://127.0.0.1:5000")
    (page,), (version, training) = links(report), links(release)
    address = f"http://127.0.0.1:8080/store/report/{report.key}/report.html"
    assert page == Link("page", "The report", address)
    assert (trained.home / page.address.removeprefix("http://127.0.0.1:8080/")).is_file()
    assert version.address == "http://127.0.0.1:5000/#/models/tiny-play/versions/1"
    assert training.address.startswith("http://127.0.0.1:5000/#/runs/")
    assert links(artifact_of(trained, "tiny-play", "model")) == []
