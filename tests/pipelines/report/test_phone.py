"""The report as a browser lays it out on a phone: no table is wider than its place."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from pipelines.report.page import stacked
from pipelines.store.settings import Settings
from tests.conftest import artifact_of
from tests.pipelines.upkeep.test_dashboard_browser import CHROMIUM, PHONE, chromium

PROBE = """\
<!DOCTYPE html><iframe src="{page}" width="{width}" height="9000" style="border: 0"></iframe>
<pre></pre><script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument
  page.querySelectorAll("details").forEach((one) => one.open = true)
  const tables = [...page.querySelectorAll("table")]
  document.querySelector("pre").textContent = JSON.stringify({{
    page: page.documentElement.scrollWidth,
    tables: tables.length,
    stacked: tables.filter((one) => getComputedStyle(one).display == "block").length,
    wide: tables.filter((one) => one.parentElement.scrollWidth > one.parentElement.clientWidth)
      .map((one) => one.textContent.slice(0, 80)),
  }})
}}</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")
@pytest.mark.parametrize("name", ["tiny-reviews", "tiny-play"])
def test_the_reports_tables_fit_a_phone(trained: Settings, tmp_path: Path, name: str) -> None:
    page, probe = artifact_of(trained, name, "report").path / "report.html", tmp_path / "p.html"
    found = {}
    for width in (PHONE, 1280):
        probe.write_text(PROBE.format(page=page.as_uri(), width=width), encoding="utf-8")
        dom = chromium(tmp_path, "--dump-dom", probe.as_uri())
        found[width] = json.loads(html.unescape(re.search("<pre>(.*)</pre>", dom).group(1)))
    for width, said in found.items():
        assert said["page"] == width and said["tables"] > 8
    assert found[PHONE]["wide"] == []
    assert found[PHONE]["stacked"] > 2 and found[1280]["stacked"] == 0


def test_a_cell_says_its_column() -> None:
    head = "".join(f'<th class="n">{name}</th>' for name in "abcdef")
    row = '<tr><th scope="row">1</th><td>2</td><td class="n"><b>3</b></td><td></td></tr>'
    page = f"<table><thead><tr>{head}</tr></thead><tbody>{row}</tbody></table>"
    done = stacked(page)
    assert done.startswith('<table class="stacked">') and head in done
    assert '<td data-label="b">2</td><td data-label="c" class="n"><b>3</b>' in done
    narrow = page.replace("<th", "<td", 3)
    assert stacked(narrow) == narrow
