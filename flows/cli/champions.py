"""The commands that say who is champion, change it, and prove that what is written is true."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Annotated

import typer

from flows.cli.app import app
from flows.cli.options import AsJson, Name, OnlyName, answer, settings, writable
from flows.display import models as display
from flows.parameters import model_name
from pipelines.errors import FolioError, UsageError

Reason = Annotated[str, typer.Option(help="why, for the journal")]


@app.command()
def champion(
    name: Name,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="not now but then, in UTC: 2026-11-01 (the end of that day) or 2026-11-01T06:30",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Which version is champion, or was; since when, and why.

    \b
    Examples:
      folio champion imdb
      folio champion imdb --at 2026-11-01
    """
    from pipelines.registry.champions import champion_at

    model, when = model_name(name), _moment(at) if at else None
    line = champion_at(settings().home, model, when)
    if line is None:
        then = f" at {when:%Y-%m-%d %H:%M} UTC" if at else ""
        raise FolioError(
            f"{model}: there was no champion{then} by the journal; `folio models "
            f"{model} --history` shows it all"
        )
    answer({**line, "version": line["champion"], "since": line["time"]}, as_json, display.champion)


@app.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(help="as `folio models` lists it")],
    reason: Reason = "by hand",
    as_json: AsJson = False,
) -> None:
    """Make a version champion, whatever the gate said of it.

    \b
    Examples:
      folio promote imdb 3
      folio promote imdb 3 --reason "better on our own reviews"
    """
    from pipelines.registry.champions import promote as promoted

    answer(promoted(writable().home, model_name(name), version, reason), as_json, display.moved)


@app.command()
def rollback(name: Name, reason: Reason = "by hand", as_json: AsJson = False) -> None:
    """Make the former champion champion again.

    The one that goes stays out until it is promoted by hand.

    \b
    Examples:
      folio rollback imdb
      folio rollback imdb --reason "it calls every sequel bad"
    """
    from pipelines.registry.champions import rollback as rolled_back

    answer(rolled_back(writable().home, model_name(name), reason), as_json, display.moved)


@app.command()
def verify(name: OnlyName = None, as_json: AsJson = False) -> None:
    """Prove that journal, registry and files are as they were written, and the test split sealed.

    Exit code 1, and one line that names what is wrong, if they are not.

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
            model_name(name) if name else None,
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


def _moment(text: str) -> datetime:
    """A day means its end: what was decided on it counts."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"--at {text}: write a day or a time, such as 2026-11-01 or 2026-11-01T06:30"
        ) from error
    if len(text) <= len("2026-11-01"):
        moment = datetime.combine(moment, time.max)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
