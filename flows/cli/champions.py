"""Commands that show, change, verify and export the champions."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.app import app
from flows.cli.options import AsJson, ModelVersion, Name, OnlyName, answer, settings, writable
from flows.display import models as display
from pipelines.declaration.reading.declared import pipeline_name
from pipelines.errors import FolioError, UsageError

Reason = Annotated[str, typer.Option(help="the reason, recorded in the journal")]


@app.command()
def champion(
    name: Name,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="show the champion at this time (UTC): 2026-11-01 (end of the day) or "
            "2026-11-01T06:30",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the champion: its version, since when and why.

    \b
    Examples:
      folio champion imdb
      folio champion imdb --at 2026-11-01
    """
    from pipelines.registry.champions import champion_at

    model, when = pipeline_name(name), _moment(at) if at else None
    line = champion_at(settings().home, model, when)
    if line is None:
        then = f" at {when:%Y-%m-%d %H:%M} UTC" if at else ""
        raise FolioError(
            f"{model}: the journal has no champion{then}; see the full history with "
            f"`folio models {model} --history`"
        )
    answer({**line, "version": line["champion"], "since": line["time"]}, as_json, display.champion)


@app.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="the version, as listed by `folio models`")],
    reason: Reason = "by hand",
    as_json: AsJson = False,
) -> None:
    """Make a version champion, overriding the promotion gate.

    \b
    Examples:
      folio promote imdb 3
      folio promote imdb 3 --reason "better on our own reviews"
    """
    from pipelines.registry.champions import promote as promoted

    with _on_the_dashboard() as home:
        line = promoted(home, pipeline_name(name), version, reason)
    answer(line, as_json, display.moved)


@app.command()
def rollback(name: Name, reason: Reason = "by hand", as_json: AsJson = False) -> None:
    """Make the previous champion the champion again.

    The promotion gate does not promote the current champion again; use `folio promote` for that.

    \b
    Examples:
      folio rollback imdb
      folio rollback imdb --reason "it calls every sequel bad"
    """
    from pipelines.registry.champions import rollback as rolled_back

    with _on_the_dashboard() as home:
        line = rolled_back(home, pipeline_name(name), reason)
    answer(line, as_json, display.moved)


@contextlib.contextmanager
def _on_the_dashboard() -> Iterator[Path]:
    """The home; its page is written again after the block."""
    from pipelines.run.retraining import on_stderr
    from pipelines.upkeep.dashboard import dashboard_after

    here = writable()
    with dashboard_after(here, on_stderr):
        yield here.home


@app.command()
def verify(name: OnlyName = None, as_json: AsJson = False) -> None:
    """Verify the registry, its journal, files and artifacts.

    This includes that the test split was not used in training. The exit code is 1, with one line
    that names the problem, if something is wrong.

    \b
    Examples:
      folio verify
      folio verify imdb --json
    """
    from flows.display.console import Console
    from pipelines.audit.verify import verify as verified

    here = settings()
    with Console() as console:
        found = verified(
            here.home,
            here.store.root,
            console.progress("verify"),
            pipeline_name(name) if name else None,
        )
    if as_json or not found.problems:
        answer(found.as_json(), as_json, display.verified)
    if found.problems:
        more = (
            f" (and {len(found.problems) - 1} more; --json lists them)"
            if (len(found.problems) > 1)
            else ""
        )
        raise FolioError(f"{found.problems[0]}{more}")


@app.command()
def export(
    name: Name,
    out: Annotated[Path, typer.Option(help="the new folder", metavar="FOLDER")],
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="mlflow: the whole model, texts in, answers out; light: the same with Python and "
            "NumPy alone; savedmodel (TensorFlow) or onnx: the network, with its vocabulary",
        ),
    ] = "mlflow",
    version: ModelVersion = None,
    as_json: AsJson = False,
) -> None:
    """Copy a registered model to a folder that loads anywhere, without Folio.

    \b
    Examples:
      folio export imdb --out ./imdb-model
      folio export imdb --version 3 --out ./imdb-3
      folio export imdb --format light --out ./imdb-light
      folio export imdb --format onnx --out ./imdb-onnx
    """
    from flows.display.console import NATIVE_LOG, native_notices_to
    from pipelines.export.export import export as exported

    home = settings().home
    with native_notices_to(home / NATIVE_LOG):
        found = exported(home, pipeline_name(name), version, out, kind)
    answer(found, as_json, display.exported)


def _moment(text: str) -> datetime:
    """A date means the end of that day, so that decisions made on it are included."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--at {text}: give a date or time, such as 2026-11-01 or 2026-11-01T06:30"
        ) from error
    if len(text) <= len("2026-11-01"):
        moment = datetime.combine(moment, time.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
