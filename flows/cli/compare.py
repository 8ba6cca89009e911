"""Commands that train variants of a pipeline and choose between them."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from flows.cli.app import app
from flows.cli.options import (
    AllowSample,
    AsJson,
    Backend,
    Mirror,
    Name,
    Offline,
    Overrides,
    Profile,
    answer,
    overridden,
    writable,
)
from flows.display import comparison as display
from pipelines.errors import FolioError, UnreachableError, UsageError
from pipelines.files.machine import one_line

if TYPE_CHECKING:
    from flows.cli.running import FlowOptions, Runner
    from pipelines.declaration.spec import Spec
    from pipelines.run.search import Search, Trial
    from pipelines.store.settings import Settings
    from pipelines.tracking.nested import Parent

MOST_FAILURES = 3  # in a row: then it is not the settings that are wrong


@app.command()
def compare(
    name: Name,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="values to try, for example model.cell=simple,lstm,gru; repeat the option to "
            "combine several keys; or the name of a grid in the declaration",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            help="train each variant with this many seeds; it is ranked by its mean", min=1
        ),
    ] = 1,
    on: Annotated[
        str,
        typer.Option(
            metavar="SPLIT",
            help="rank by this split. validation: the test split is read for the best variant "
            "only; test: it is read for all",
        ),
    ] = "validation",
    profile: Profile = "full",
    overrides: Overrides = None,
    backend: Backend = None,
    mirror: Mirror = None,
    offline: Offline = False,
    allow_sample: AllowSample = False,
    as_json: AsJson = False,
) -> None:
    """Train variants of a pipeline and compare them in a table.

    \b
    Examples:
      folio compare imdb --grid model.cell=simple,lstm,gru --grid tokens.max_tokens=100,400
      folio compare speeches --grid cells --profile quick --seeds 3
      folio compare shakespeare --seeds 5
    """
    from flows.cli.running import FlowOptions, code_of, refuse_invalid, runner
    from pipelines.declaration.load import load_spec
    from pipelines.run.comparison import TEST_STAGE, VALIDATION, Comparison, Row
    from pipelines.run.grid import Variant, grid_of

    here, common = writable(), overridden(overrides, backend)
    spec = load_spec(name, profile, common)
    tried = {} if seeds > 1 and not grid else grid_of(spec, grid or [])
    compared = Comparison.of(spec, tried, seeds, on)
    options = FlowOptions(profile, mirror=mirror, offline=offline, allow_sample=allow_sample)
    every = [own for variant in compared.tried for own in compared.overrides(variant)]
    refuse_invalid([(name, (*common, *own)) for own in every], profile)
    code = 0
    with _parent_run(here, spec, "compare", uuid4().hex) as parent, runner(here, options) as run:

        def row(variant: Variant, until: str) -> Row:
            nonlocal code
            chosen = replace(options, until=until)
            ended = [run(name, (*common, *own), chosen) for own in compared.overrides(variant)]
            code = max(code, *(code_of(error) for _, error in ended))
            return compared.row(variant, [record for record, _ in ended], here.store)

        def compared_with(variant: Variant) -> Row:
            found = row(variant, compared.until)
            parent.add(compared.tried_as(found))
            return found

        rows = compared.best_first([compared_with(variant) for variant in compared.tried])
        if rows[0]["error"] is None:
            parent.choose(compared.tried_as(rows[0]), len(rows))
        if compared.split == VALIDATION and rows[0]["error"] is None:
            rows[0] = row(rows[0]["variant"], TEST_STAGE)
    folder = here.home / "comparisons" / rows[0]["trainings"][-1]["run"]
    compared.write(folder, rows)
    answer(compared.as_json(rows) | {"folder": str(folder)}, as_json, display.comparison)
    raise typer.Exit(code)


@app.command()
def tune(
    name: Name,
    trials: Annotated[
        int | None,
        typer.Option(
            help="stop when there are this many trials, including those of earlier calls; "
            "default: 20, or with --hours no limit",
            min=1,
        ),
    ] = None,
    hours: Annotated[
        float | None, typer.Option(help="begin no trial after this many hours", min=0.0)
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUES",
            help="values to try, instead of the declared `tune`: a list of choices, or a range "
            "such as {low: 0.001, high: 0.1, log: true}; repeat the option for more keys",
        ),
    ] = None,
    profile: Profile = "full",
    overrides: Overrides = None,
    backend: Backend = None,
    mirror: Mirror = None,
    offline: Offline = False,
    allow_sample: AllowSample = False,
    as_json: AsJson = False,
) -> None:
    """Search for the settings that are best on validation. The test split is never read.

    Give the same command again to continue a search that was stopped or killed, also with more
    trials.

    \b
    Examples:
      folio tune shakespeare --profile quick --trials 20
      folio tune imdb --trials 100 --hours 8
      folio tune speeches --space "model.units=[[128], [256]]" --trials 2
      folio tune words --space "training.learning_rate={low: 0.001, high: 0.1, log: true}"
    """
    from flows.cli.running import FlowOptions, refuse_invalid
    from pipelines.run.comparison import BEFORE_TEST
    from pipelines.run.search import profile_of, search_in

    here, common = writable(), overridden(overrides, backend)
    refuse_invalid([(name, common)], profile)
    spec = _searched(name, profile, common, space or [])
    options = FlowOptions(
        profile, until=BEFORE_TEST, mirror=mirror, offline=offline, allow_sample=allow_sample
    )
    most = trials or (20 if hours is None else None)
    with (
        search_in(here.home, spec) as search,
        _parent_run(here, spec, "tune", search.folder.name) as parent,
    ):
        try:
            _search(search, (name, common), here, options, most, hours, parent)
        except BaseException:
            _said(f"{len(search.trials)} trials are kept; to continue, give the same command again")
            raise
        best, shown = search.best, search.as_json() | {"folder": str(search.folder)}
    answer(shown | {"yaml": best and profile_of(best, common)}, as_json, display.tuning)
    raise typer.Exit(0 if best else 1)


def _searched(name: str, profile: str, common: tuple[str, ...], given: list[str]) -> Spec:
    """The declaration, with the space that is given or else its own. Raises UsageError if there is
    none, or if it has a value that cannot be."""
    from pipelines.declaration.load import load_spec
    from pipelines.run.grid import overrides
    from pipelines.run.search import refuse_impossible, space_of

    try:
        spec = load_spec(name, profile, (*common, *space_of(given)))
    except UsageError as error:
        raise UsageError(str(error).replace("--set tune: tune.", "--space ")) from error
    refuse_impossible(
        spec, lambda variant: load_spec(name, profile, (*common, *overrides(variant)))
    )
    return spec


def _search(
    search: Search,
    pipeline: tuple[str, tuple[str, ...]],
    here: Settings,
    options: FlowOptions,
    most: int | None,
    hours: float | None,
    parent: Parent,
) -> None:
    """Trains trials until there are as many as asked for, or the time is over. What the settings
    are not to blame for ends it; that trial is repeated when the search continues."""
    from flows.cli.running import runner

    end = math.inf if hours is None else time.monotonic() + 3600 * hours
    failures, goal = 0, math.inf if most is None else most
    if len(search.trials) >= goal or time.monotonic() >= end:
        return
    with runner(here, options) as run:
        while len(search.trials) < goal and time.monotonic() < end:
            trial = _tried(search, pipeline, here, options, run)
            _said(display.trial(trial, search.best, most))
            parent.add(search.tried_as(trial))
            if search.best:
                parent.choose(search.tried_as(search.best), len(search.trials))
            failures = failures + 1 if trial.error else 0
            if failures == MOST_FAILURES:
                raise FolioError(f"{failures} trials failed one after another: {trial.error}")


def _tried(
    search: Search,
    pipeline: tuple[str, tuple[str, ...]],
    here: Settings,
    options: FlowOptions,
    run: Runner,
) -> Trial:
    from pipelines.run.grid import overrides

    (name, common), variant = pipeline, search.ask()
    try:
        record, error = run(name, (*common, *overrides(variant)), options)
    except UsageError as problem:  # values that are valid one by one, but not together
        return search.fail(variant, one_line(problem))
    if error is None:
        return search.tell(variant, record, here.store)
    if not isinstance(error, FolioError) or isinstance(error, UnreachableError):
        raise error
    return search.fail(variant, one_line(error), record["run"])


@contextmanager
def _parent_run(here: Settings, spec: Spec, command: str, search: str) -> Iterator[Parent]:
    """The run in MLflow under which those of the variants stand."""
    from pipelines.tracking.nested import parent_run

    def notice(text: str) -> None:
        print(f"{command}: {text}", file=sys.stderr, flush=True)

    with parent_run(here.home, spec.name, f"{command} {spec.name}", search, notice) as parent:
        yield parent


def _said(text: str) -> None:
    print(f"tune: {text}", file=sys.stderr, flush=True)
