"""Commands that train variants of a pipeline and choose between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

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
    with runner(here, options) as run:

        def row(variant: Variant, until: str) -> Row:
            nonlocal code
            chosen = replace(options, until=until)
            ended = [run(name, (*common, *own), chosen) for own in compared.overrides(variant)]
            code = max(code, *(code_of(error) for _, error in ended))
            return compared.row(variant, [record for record, _ in ended], here.store)

        rows = compared.best_first([row(variant, compared.until) for variant in compared.tried])
        if compared.split == VALIDATION and rows[0]["error"] is None:
            rows[0] = row(rows[0]["variant"], TEST_STAGE)
    folder = here.home / "comparisons" / rows[0]["trainings"][-1]["run"]
    compared.write(folder, rows)
    answer(compared.as_json(rows) | {"folder": str(folder)}, as_json, display.comparison)
    raise typer.Exit(code)
