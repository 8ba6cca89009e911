"""Where the report is, and what a browser makes of it on paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipelines.audit.find_report import print_pdf, report_of
from pipelines.errors import FolioError, UsageError
from pipelines.store.settings import Settings
from tests.conftest import artifact_of
from tests.pipelines.upkeep.test_dashboard_browser import CHROMIUM

A4 = (595, 842)  # points
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium on the PATH (Debian: apt-get install chromium)"
)


def test_the_report_of_a_run_a_version_and_the_latest(trained: Settings) -> None:
    pages = {
        name: artifact_of(trained, name, "release").path / "report.html"
        for name in ("tiny-reviews", "tiny-play")
    }
    last = next(iter(trained.runs))
    assert report_of("latest", trained) == pages[last["pipeline"]]
    assert report_of(last["run"], trained) == pages[last["pipeline"]]
    assert report_of("tiny-reviews@champion", trained) == pages["tiny-reviews"]
    assert report_of("tiny-play", trained) == pages["tiny-play"]
    metrics = artifact_of(trained, "tiny-play", "metrics")
    assert report_of(metrics.key[:12], trained) == metrics.path / "report.html"  # as it asks


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
        == artifact_of(trained, newest["pipeline"], "release").key
    )
    with pytest.raises(UsageError, match="99990101-000000-tiny-play-0000 has no report"):
        report_of(failed["run"], home)
    with pytest.raises(UsageError, match="no run has a report yet"):
        report_of("latest", Settings.at(tmp_path / "empty"))


def test_without_a_browser_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FolioError, match="needs Chromium, and there is none on the PATH"):
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
