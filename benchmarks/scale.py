"""The command line in a home in use for years: many runs, versions and artifacts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.data import SAMPLES, made
from benchmarks.harness import Conditions, Measured, apart
from benchmarks.idle import command_seconds
from benchmarks.results import Row
from pipelines.registry.champions import journal_of
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import versions
from pipelines.store.artifacts import Store
from pipelines.store.manifest import Recipe
from pipelines.store.settings import Settings
from pipelines.store.times import utc

NAME, PROFILE = "shakespeare", "sample"
SMALL = ("model.embedding=4", "model.units=[4]", "training.epochs=1", "registry.floor=9")
RUNS, VERSIONS, ARTIFACTS = 2_000, 500, 20_000
STAGES = ("source", "corpus", "tokens", "batches", "model", "metrics")
GOAL = 2.0  # seconds
MORE_ON = {
    "gc": "Without --yes. The first time, or where times of files are younger than ten seconds, "
    "manifests are read, which takes twice the time."
}
MORE = "more"  # the field that tells the copies of an artifact apart


def compare(conditions: Conditions) -> Iterator[Row]:
    # Beside the other home, which counts what it holds.
    large = replace(conditions, home=conditions.home.with_name(f"{conditions.home.name}-large"))
    sizes = (20, 5, 60) if conditions.quick else (RUNS, VERSIONS, ARTIFACTS)
    declared = NAME, PROFILE, (f"source.path={SAMPLES / 'play.txt'}", *SMALL)
    made(large, declared, until="report")
    apart(_fill, large.home, *sizes)
    given = [part for text in declared[2] for part in ("--set", text)]
    for name, arguments in (
        ("list", ["list"]),
        ("runs", ["runs"]),
        ("models", ["models"]),
        ("plan", ["plan", NAME, "--profile", PROFILE, *given]),
        ("dashboard", ["dashboard"]),
        ("gc", ["gc"]),
    ):
        found: Measured = command_seconds(large, arguments)
        yield Row.within(
            f"scale/{name}",
            f"folio {name} with {sizes[0]:,} runs, {sizes[1]:,} versions, {sizes[2]:,} artifacts",
            found.median,
            "s",
            GOAL,
            len(found.values),
            MORE_ON.get(name, ""),
        )


def _fill(home: Path, runs: int, registered: int, artifacts: int) -> None:
    """Up to so many of each, like the first ones. What is there already stays."""
    settings = Settings.at(home)
    records = list(settings.runs)
    for number in range(len(records), runs):
        began = time.time() - 3600 * number
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(began))
        same = {"run": f"{stamp}-{NAME}-{number:06x}", "started": utc(began)}
        settings.runs.save(records[-1] | same)
    _register(home, registered)
    first = {
        stage: json.loads(next((home / "store" / stage).glob("[!.]*/manifest.json")).read_bytes())
        for stage in STAGES
    }
    there = sum(len(list((home / "store" / stage).glob("[!.]*/manifest.json"))) for stage in STAGES)
    for number in range(there, artifacts):  # a store holds what it has published
        _publish(Settings.at(home).store, first[STAGES[number % len(STAGES)]], number)


def _register(home: Path, wanted: int) -> None:
    """Copies of the first version, each once champion."""
    known = versions(home, NAME)
    first = known[0]
    with mlflow_at(home) as (_, client):
        source = client.get_model_version(NAME, str(first.number))
        for number in range(len(known) + 1, wanted + 1):
            client.create_model_version(NAME, str(source.source), source.run_id, tags=first.tags)
            client.set_registered_model_alias(NAME, "champion", str(number))
            _journal(home, number)


def _journal(home: Path, number: int) -> None:
    journal = journal_of(home)
    last = journal.lines(NAME)[-1]
    fields = ("time", "who", "action", "model", "reason")
    entry = {name: last[name] for name in fields}
    numbers = {"version": number, "former": number - 1, "champion": number}
    journal.append(journal.sealed(entry | numbers))


def _publish(store: Store, like: dict[str, Any], number: int) -> None:
    """An artifact of one small file, with the manifest of another one's stage."""
    recipe = Recipe(
        like["stage"],
        like["version"],
        like["config"] | {MORE: number},
        like["inputs"],
        like["code"],
        like["libraries"],
    )
    origin = {key: like[key] for key in ("pipeline", "profile", "seed", "sample", "run")}

    def build(work: Any) -> dict[str, Any]:
        (work.out / "data").write_bytes(b"%d" % number)
        return {}

    store.obtain(recipe, build, manifest=origin | {"git_commit": None})
