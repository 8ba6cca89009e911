"""Finds the report of a run or a version, and prints it to PDF."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.audit.provenance import graph_of
from pipelines.errors import FolioError, UsageError
from pipelines.files.home import why_closed
from pipelines.registry.lookup import unregistered
from pipelines.registry.references import Reference, of_run, resolve
from pipelines.registry.versions import Version
from pipelines.report.page import REPORT
from pipelines.run.execute import draw_report
from pipelines.stages import stage_named
from pipelines.store.artifacts import Artifact, Inputs
from pipelines.store.lineage import stored
from pipelines.store.settings import Settings

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
STAGE = stage_named("report")
PRINT_SECONDS = 120  # a busy machine needs some time to start a browser


def report_of(text: str, settings: Settings) -> Path:
    """The page of what `text` names, drawn if necessary; latest is the newest run that has one.

    Raises UsageError if there is none, and FolioError if it cannot be drawn.
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
            f"{reference.name} has no report: its metrics were not computed, or have been "
            "deleted; `folio runs` lists other runs"
        )
    return page


def _page(reference: Reference, settings: Settings) -> Path | None:
    """As drawn by the run, by another run of the same artifacts, or by an earlier version of Folio
    (in the release, and without a verdict in the metrics); otherwise it is drawn now."""
    own = settings.store.find(STAGE.name, reference.keys.get(STAGE.name, ""))
    inputs = _inputs(reference, settings)
    if own is None and "metrics" not in inputs:
        return None
    there = [own, *_drawn(inputs, settings), inputs.get("release", inputs.get("metrics"))]
    for artifact in filter(None, there):
        if REPORT in artifact.manifest["files"]:
            return artifact.path / REPORT
    if all(name in inputs for name in STAGE.reads(inputs)):
        if closed := why_closed(settings.home):
            raise FolioError(f"{reference.name}: its report has not been drawn yet: {closed}")
        return draw_report(inputs, settings).path / REPORT
    return None


def _inputs(reference: Reference, settings: Settings) -> dict[str, Artifact]:
    """The artifacts that the report describes, as far as they exist here."""
    keys = {stage: key for stage, key in reference.keys.items() if stage != STAGE.name}
    named = [settings.store.find(stage, key) for stage, key in keys.items()]
    if reference.version is not None:
        named += _newest(_releases(reference.version, settings))
    known = [one for one in named if one is not None]
    found = {one.stage: one for one in (*graph_of(settings).above(known), *known)}
    return {name: found[name] for name in STAGE.inputs if name in found}


def _drawn(inputs: Inputs, settings: Settings) -> list[Artifact]:
    digests = {stage: artifact.digest for stage, artifact in inputs.items()}
    reports = stored(settings.store, STAGE.name)
    return _newest([one for one in reports if one.manifest["inputs"] == digests])


def _releases(version: Version, settings: Settings) -> list[Artifact]:
    """A version does not name its releases."""
    return [
        one
        for one in stored(settings.store, "release")
        if one.counts.get("version") == version.number and unregistered(one, [version]) is None
    ]


def _newest(found: list[Artifact]) -> list[Artifact]:
    """The last one, which is the most complete; None if there are none."""
    return sorted(found, key=lambda one: one.manifest["created"])[-1:]


def print_pdf(page: Path, pdf: Path) -> None:
    """Print a page with a browser to the file `pdf`.

    Raises FolioError if Chromium is not installed or prints nothing.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise FolioError(
            "printing needs Chromium, which is not on the PATH; install it (Debian: "
            f"apt-get install chromium), or print {page} from a browser"
        )
    with TemporaryDirectory(prefix="folio-print-") as folder:
        draft = Path(folder, "page.pdf")
        said = _run(browser, page, draft, Path(folder, "profile"))
        if not draft.is_file():
            raise FolioError(f"{browser} did not print {page}: {said}; try it by hand")
        shutil.move(draft, pdf)


def _run(browser: str, page: Path, pdf: Path, profile: Path) -> str:
    """Returns the browser's last line of output."""
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
        command.insert(1, "--no-sandbox")  # Chromium does not allow it for root
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PRINT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {PRINT_SECONDS} s"
    return (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
