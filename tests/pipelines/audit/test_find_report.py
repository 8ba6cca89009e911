"""Where the report is, and what a browser makes of it on paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.audit.find_report import print_pdf, report_of
from pipelines.errors import FolioError, UsageError
from pipelines.files.listing import listed
from pipelines.store.settings import Settings
from tests.conftest import artifact_of, republished
from tests.pipelines.upkeep.test_dashboard_browser import CHROMIUM
from tests.plain_stages import NAMES

A4 = (595, 842)  # points
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH (Debian: apt-get install chromium)"
)


def test_the_report_of_a_run_a_version_and_the_latest(trained: Settings) -> None:
    pages = {
        name: artifact_of(trained, name, "report").path / "report.html"
        for name in ("tiny-reviews", "tiny-play")
    }
    last = next(iter(trained.runs))
    assert report_of("latest", trained) == pages[last["pipeline"]]
    assert report_of(last["run"], trained) == pages[last["pipeline"]]
    assert report_of("tiny-reviews@champion", trained) == pages["tiny-reviews"]
    assert report_of("tiny-play", trained) == pages["tiny-play"]


def test_a_report_that_is_not_there_is_drawn(trained: Settings, tmp_path: Path) -> None:
    shutil.copytree(trained.home, tmp_path / "home")
    home = Settings.at(tmp_path / "home")
    drawn = artifact_of(home, "tiny-play", "report").path / "report.html"
    page = drawn.read_text(encoding="utf-8")
    shutil.rmtree(home.home / "store" / "report")
    run = next(record["run"] for record in home.runs if record["pipeline"] == "tiny-play")
    assert report_of(run, home) == drawn and drawn.read_text(encoding="utf-8") == page
    shutil.rmtree(home.home / "store" / "report")
    assert report_of("tiny-play@1", home) == drawn
    metrics = artifact_of(home, "tiny-play", "metrics")
    plain = report_of(metrics.key[:12], home)
    assert plain != drawn and 'id="verdict"' not in plain.read_text(encoding="utf-8")
    assert report_of(metrics.key[:12], home) == plain and report_of(run, home) == drawn
    with pytest.raises(UsageError, match=r"^model [0-9a-f]{12} has no report"):
        report_of(artifact_of(home, "tiny-play", "model").key, home)


@pytest.mark.parametrize("stage", ["metrics", "release"])
def test_the_page_of_an_earlier_folio_is_shown(
    trained: Settings, tmp_path: Path, stage: str
) -> None:
    """It stood in the release; of a run that ended at the metrics in these, without a verdict."""
    shutil.copytree(trained.home, tmp_path / "home")
    home = Settings.at(tmp_path / "home")
    shutil.rmtree(home.home / "store" / "report")
    record = next(record for record in home.runs if record["pipeline"] == "tiny-play")
    home.runs.save(record | {"stages": record["stages"][: NAMES.index(stage) + 1]})
    folder = artifact_of(home, "tiny-play", stage).path
    (folder / "report.html").write_text("old")

    def list_page(manifest: dict[str, Any]) -> None:
        manifest["files"]["report.html"] = listed(folder)["report.html"]

    artifact = republished(folder, list_page)
    for named in (record["run"], artifact.key[:12]):
        assert report_of(named, home) == artifact.path / "report.html"
    assert not (home.home / "store" / "report").exists()


def test_latest_is_the_newest_that_has_a_report(trained: Settings, tmp_path: Path) -> None:
    shutil.copytree(trained.home, tmp_path / "home")
    home = Settings.at(tmp_path / "home")
    newest = next(iter(home.runs))
    failed = newest | {
        "run": "99990101-000000-tiny-play-0000",
        "state": "failed",
        "stages": newest["stages"][:2],
    }
    home.runs.save(failed)
    assert (
        report_of("latest", home).parent.name
        == artifact_of(trained, newest["pipeline"], "report").key
    )
    with pytest.raises(UsageError, match="99990101-000000-tiny-play-0000 has no report"):
        report_of(failed["run"], home)
    with pytest.raises(UsageError, match="no run has a report yet"):
        report_of("latest", Settings.at(tmp_path / "empty"))


def test_without_a_browser_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FolioError, match="needs Chromium, which is not on the PATH"):
        print_pdf(tmp_path / "report.html", tmp_path / "report.pdf")


@needs_chromium
def test_what_cannot_be_written_is_one_line(trained: Settings, tmp_path: Path) -> None:
    with pytest.raises((FolioError, OSError), match="nowhere"):
        print_pdf(report_of("tiny-play", trained), tmp_path / "nowhere" / "report.pdf")


@pytest.fixture(scope="module", params=["tiny-reviews", "tiny-play"])
def printed(
    request: pytest.FixtureRequest, trained: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    pdf = tmp_path_factory.mktemp("printed") / "report.pdf"
    print_pdf(report_of(request.param, trained), pdf)
    return pdf


@needs_chromium
def test_the_report_is_a_few_pages_of_a4(printed: Path) -> None:
    data = printed.read_bytes()
    boxes = {
        tuple(round(float(one)) for one in box.split()[2:])
        for box in re.findall(rb"/MediaBox ?\[([\d. ]+)\]", data)
    }
    assert boxes == {A4}
    assert 3 <= len(re.findall(rb"/Type ?/Page\b", data)) <= 10


@needs_chromium
@pytest.mark.skipif(
    shutil.which("pdftoppm") is None,
    reason="no pdftoppm on the PATH (Debian: apt-get install poppler-utils)",
)
def test_the_report_looks_right_on_paper(printed: Path, tmp_path: Path) -> None:
    subprocess.run(["pdftoppm", "-r", "50", "-png", printed, tmp_path / "page"], check=True)
    pages = sorted(tmp_path.glob("page-*.png"))
    assert pages
    for page in pages:
        assert_good_on_paper(page)


def assert_good_on_paper(path: Path) -> None:
    """White paper, and nothing printed into its margins: not cut off at the right either."""
    from matplotlib.image import imread

    pixels = imread(path)[..., :3].mean(axis=2)  # (rows, columns), 0 to 1
    assert np.median(pixels) == 1.0
    margin = round(10 / 25.4 * 50)  # 10 of the 15 mm, at 50 dots an inch
    assert (pixels[:, :margin] == 1).all() and (pixels[:, -margin:] == 1).all(), path.name
    assert (pixels < 0.5).sum() > 100  # more than a line or two stands on it
