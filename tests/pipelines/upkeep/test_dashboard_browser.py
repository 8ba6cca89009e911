"""The dashboard as a browser lays it out: no sideways scrolling on a phone, light and dark."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import write_dashboard

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PHONE = 390  # CSS pixels
# The page in a frame as wide as a phone, every <details> open, says how wide it wants to be.
PROBE = """\
<!DOCTYPE html><iframe src="{page}" width="{width}" height="9000" style="border: 0"></iframe>
<pre></pre><script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument
  const words = [page.compatMode]
  for (const open of [false, true]) {{
    page.querySelectorAll("details").forEach((one) => one.open = open)
    words.push(page.documentElement.scrollWidth, page.documentElement.clientWidth)
  }}
  words.push(page.querySelectorAll("details").length)
  document.querySelector("pre").textContent = words.join(" ")
}}</script>
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium on the PATH (Debian: apt-get install chromium)"
    ),
]


@pytest.fixture(scope="module")
def page(trained: Settings, tmp_path_factory: pytest.TempPathFactory, reviews: Path) -> Path:
    """Two pipelines that have run, and one run that failed with a long line."""
    home = tmp_path_factory.mktemp("shown") / "home"
    shutil.copytree(trained.home, home)
    settings = Settings.at(home)
    retrain_plain(str(reviews), settings=settings, notice=lambda text: None)
    record = next(iter(settings.runs))
    settings.runs.save(
        record | {"run": "z-" + "long-" * 12, "state": "failed", "error": "/a/very/long/path" * 20}
    )
    return write_dashboard(settings)


def chromium(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--allow-file-access-from-files",
            "--virtual-time-budget=5000",
            f"--user-data-dir={folder / 'profile'}",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("width", [320, PHONE, 1280])
def test_the_page_is_as_wide_as_the_screen(page: Path, tmp_path: Path, width: int) -> None:
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(page=page.as_uri(), width=width), encoding="utf-8")
    dom = chromium(tmp_path, "--dump-dom", probe.as_uri())
    said = html.unescape(re.search("<pre>(.*)</pre>", dom).group(1)).split()
    mode, *widths, details = said
    assert mode == "CSS1Compat" and int(details) > 5
    assert [int(one) for one in widths] == [width] * 4


@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)])
def test_the_page_is_light_or_dark_as_the_reader_likes(
    page: Path, tmp_path: Path, scheme: int, dark: bool
) -> None:
    from matplotlib.image import imread

    shot = tmp_path / "shot.png"
    chromium(
        tmp_path,
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--screenshot={shot}",
        f"--window-size={PHONE},800",
        page.as_uri(),
    )
    pixels = imread(shot)[..., :3]  # (rows, columns, colours), 0 to 1
    assert (np.median(pixels) < 0.2) == dark
    assert pixels.std() > 0.05  # something stands on it
