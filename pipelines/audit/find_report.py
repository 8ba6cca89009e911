"""Finds the report of a run or a version, and prints it to PDF."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.errors import FolioError, UsageError
from pipelines.registry.lookup import unregistered
from pipelines.registry.references import Reference, of_run, resolve
from pipelines.registry.versions import Version
from pipelines.report.page import REPORT
from pipelines.stages import NAMES
from pipelines.store.lineage import stored
from pipelines.store.settings import Settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
PRINT_SECONDS = 120  # a busy machine needs some to start a browser


def report_of(text: str, settings: Settings) -> Path:
    """The page of what `text` names; latest is the newest run that has one.

    Raises UsageError when there is none.
    """
    if text == "latest":
        pages = (_page(of_run(record), settings) for record in settings.runs)
        page = next(filter(None, pages), None)
        if page is None:
            raise UsageError("no run has a report yet; start with: folio run NAME")
        return page
    reference = resolve(text, settings)
    page = _page(reference, settings)
    if page is None:
        raise UsageError(
            f"{reference.name} has no report: its metrics were not made, or are here "
            "no longer; `folio runs` lists others"
        )
    return page


def _page(reference: Reference, settings: Settings) -> Path | None:
    """From the last stage that has one; of a version the page that its release wrote."""
    if reference.version is not None:
        released = _released(reference.version, settings)
        if released is not None:
            return released
    for stage in sorted(reference.keys, key=NAMES.index, reverse=True):
        artifact = settings.store.find(stage, reference.keys[stage])
        if artifact is not None and REPORT in artifact.manifest["files"]:
            return artifact.path / REPORT
    return None


def _released(version: Version, settings: Settings) -> Path | None:
    """A version does not name its releases; of several the newest says most of it."""
    found = [
        one
        for one in stored(settings.store, "release")
        if REPORT in one.manifest["files"]
        and one.counts.get("version") == version.number
        and unregistered(one, [version]) is None
    ]
    newest = max(found, key=lambda one: one.manifest["created"], default=None)
    return newest.path / REPORT if newest else None


def print_pdf(page: Path, pdf: Path) -> None:
    """Print a page as a browser does, to the file `pdf`.

    Raises FolioError when no Chromium is installed, or when it prints nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FolioError(
            "printing needs Chromium, and there is none on the PATH; install it "
            f"(Debian: apt-get install chromium), or print {page} from a browser"
        )
    with TemporaryDirectory(prefix="folio-print-") as folder:
        draft = Path(folder, "page.pdf")
        said = _run(browser, page, draft, Path(folder, "profile"))
        if not draft.is_file():
            raise FolioError(f"{browser} printed nothing of {page}: {said}; try it by hand")
        shutil.move(draft, pdf)


def _run(browser: str, page: Path, pdf: Path, profile: Path) -> str:
    """Returns the last line that the browser said."""
    command = [
        browser,
        "--headless",
        "--disable-gpu",
        "--no-pdf-header-footer",
        f"--user-data-dir={profile}",
        f"--print-to-pdf={pdf}",
        page.resolve().as_uri(),
    ]
    if os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # which Chromium refuses to root
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PRINT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {PRINT_SECONDS} s"
    return (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
