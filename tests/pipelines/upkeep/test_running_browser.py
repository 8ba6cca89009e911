"""The dashboard in a real browser, open while a real training goes on."""

from __future__ import annotations

import html
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.web.home_pages import FIRST, served
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import write_dashboard
from pipelines.upkeep.running import reloading, running
from tests.forked import CONTEXT
from tests.pipelines.upkeep.test_dashboard_browser import chromium
from tests.pipelines.upkeep.test_dashboard_browser import pytestmark as browser

pytestmark = [*browser, pytest.mark.slow]


def train_long(home: str, pipeline: str) -> None:
    retrain_plain(pipeline, None, ("training.epochs=5000",), settings=Settings.at(Path(home)))


def news(runs: Path, known: str) -> str:
    """What the page is to say of the training, once that is something else."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        texts = [one["text"] for one in running(runs) if one["stage"] == "model"]
        if texts and "loss" in texts[0] and html.escape(texts[0]) != known:
            return html.escape(texts[0])
        time.sleep(0.05)
    raise AssertionError(f"no progress after {known!r}")


@pytest.fixture
def training(trained: Settings, play: Path, tmp_path: Path) -> Iterator[Settings]:
    """A home in which a training goes on until the test ends."""
    home = shutil.copytree(trained.home, tmp_path / "home")
    process = CONTEXT.Process(target=train_long, args=(str(home), str(play)))
    process.start()
    yield Settings.at(home)
    process.kill()
    process.join()


def test_an_open_page_follows_the_training_and_needs_no_script(
    training: Settings, tmp_path: Path
) -> None:
    page, runs = write_dashboard(training), training.runs.folder
    shown = [news(runs, "")]

    def now() -> str:
        shown.append(news(runs, shown[-1]))
        text = reloading(page, runs)
        # The last one stays: chromium prints a page once nothing more is to come.
        return text if len(shown) < 4 else re.sub("<meta http-equiv=.refresh[^>]*>", "", text)

    with served(training.home, 0, now) as address:
        dom = chromium(tmp_path, "--dump-dom", "--virtual-time-budget=600000", address + FIRST)
    assert "Running now" in dom and shown[3] in dom and shown[1] not in dom
    assert re.search(r"epoch \d+/5000 · loss \d", dom) and " left</span>" in dom
    assert "<script" not in dom
