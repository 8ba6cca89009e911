"""Commands that maintain a home."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.app import app
from flows.cli.options import AsJson, answer, settings, writable
from flows.display import upkeep as display
from pipelines.errors import FolioError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from flows.services.history import FlowRun
    from pipelines.store.settings import Settings
    from pipelines.upkeep.garbage import Item, Policy

DAY = 86_400  # seconds


@app.command()
def gc(
    yes: Annotated[
        bool, typer.Option("--yes", help="delete; without this option nothing is deleted")
    ] = False,
    keep: Annotated[
        int,
        typer.Option(
            min=1, help="number of successful runs, and of versions, to keep per pipeline"
        ),
    ] = 5,
    older_than: Annotated[
        float,
        typer.Option(
            metavar="DAYS", min=0, help="age in days at which leftovers and history are deleted"
        ),
    ] = 7,
    as_json: AsJson = False,
) -> None:
    """List what can be deleted, with sizes; delete it with --yes.

    Anything that a champion, a rollback target or a live run needs is kept. In FOLIO_STORE, so is
    what any home has.

    \b
    Examples:
      folio gc
      folio gc --keep 2 --older-than 1 --yes
    """
    from flows.services.history import ended_before
    from pipelines.upkeep.collect import collect, garbage, take_stock
    from pipelines.upkeep.garbage import Policy
    from pipelines.upkeep.shared_garbage import collect_shared, shared_garbage

    here, policy = (writable if yes else settings)(), Policy(keep, older_than)
    problems: list[str] = []
    stock = take_stock(here, glance=not yes)
    items = garbage(stock, here, policy)
    recorded = {record["run"] for record in stock.records} - {item.name for item in items}
    past = [
        run
        for run in ended_before(here.home, stock.now - older_than * DAY)
        if run.name not in recorded
    ]
    if yes:
        items = collect(items, here, policy, stock.now, problems.append)
        past = _forgotten(here.home, past)
    going = {item.path for item in items if item.kind == "artifact" and item.path}
    shared = shared_garbage(here, going, policy, stock.now, _note)
    if yes:
        shared = collect_shared(shared, here, policy, stock.now, problems.append)
    items += shared + _listed(past, older_than)
    _say_what_is_left_alone(here)
    show = partial(display.garbage, again=_again(policy))
    answer(_document(items, not yes), as_json, show)
    if problems:
        more = f" (and {len(problems) - 1} more)" if problems[1:] else ""
        raise FolioError(
            f"not everything could be deleted: {problems[0]}{more}; fix the permissions "
            "and run it again"
        )


def _say_what_is_left_alone(here: Settings) -> None:
    from pipelines.registry.mlflow_access import is_own

    if not is_own(here.home):
        _note(
            "kept: the model versions, because MLFLOW_TRACKING_URI or "
            "MLFLOW_REGISTRY_URI names a registry that others may use"
        )


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _forgotten(home: Path, past: list[FlowRun]) -> list[FlowRun]:
    from flows.services.history import delete_runs

    return list(delete_runs(home, past)) if past else []


def _listed(past: list[FlowRun], days: float) -> list[Item]:
    from pipelines.upkeep.garbage import Item

    return [Item("flow run", run.name, None, f"ended more than {days:g} days ago") for run in past]


def _again(policy: Policy) -> str:
    """The command that deletes what was listed, with the options given."""
    keep = "" if policy.runs == type(policy).runs else f" --keep {policy.runs}"
    age = "" if policy.days == type(policy).days else f" --older-than {policy.days:g}"
    return f"folio gc{keep}{age} --yes"


def _document(items: list[Item], dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "bytes": sum(item.bytes for item in items),
        "items": [item.as_json() for item in items],
    }


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="make the safe repairs")] = False,
    digests: Annotated[
        bool, typer.Option("--digests", help="read every byte of every artifact")
    ] = False,
    gpu: Annotated[
        bool, typer.Option("--gpu", help="check whether each backend sees a GPU")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Find problems, and say how to fix them.

    With --fix, make the safe repairs: end dead runs, set damaged artifacts aside, remove old
    leftovers, reinstall pools, deployments and automations. The exit code is 1 if a problem
    remains.

    \b
    Examples:
      folio doctor
      folio doctor --fix
      folio doctor --digests --gpu
    """
    from flows.display.console import Console
    from flows.doctor.doctor import Depth, homeless, report

    with Console() as console:
        try:
            here = settings(progress=console.progress)
        except UsageError as error:
            result = homeless(error)
        else:
            if fix:
                writable()
            result = report(here, Depth(digests, gpu), fix)
    answer(result, as_json, display.doctor)
    raise typer.Exit(bool(result["problems"]))
