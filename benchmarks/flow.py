"""What Prefect's flow adds to a retraining: the flow against the same stages called directly."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.data import SAMPLES, quiet
from benchmarks.harness import Conditions, Side, Turn, take_turns, timed
from benchmarks.idle import server
from benchmarks.results import Row
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings

if TYPE_CHECKING:
    from flows.parameters import StageName

DECLARATION = """\
title: A tiny play
source: {{path: {text}}}
corpus: {{reader: text, split: contiguous, validation: 0.1, test: 0.1}}
tokens: {{kind: char}}
batches: {{batch_size: 8, sequence_length: 50}}
model: {{kind: language_model, cell: gru, embedding: 6, units: [11]}}
training: {{epochs: 1, learning_rate: 0.02}}
evaluation: {{start: "A", sample_length: 30, temperatures: [1.0]}}
registry: {{metric: bits_per_character, floor: 8.0}}
"""


def compare(conditions: Conditions) -> Iterator[Row]:
    home = conditions.home / "flow"
    home.mkdir(parents=True, exist_ok=True)
    declaration = home / "tiny-play.yaml"
    declaration.write_text(DECLARATION.format(text=SAMPLES / "play.txt"), encoding="utf-8")
    with server(home) as address:
        found = take_turns(
            {
                "bare": Side(bare, (str(declaration), home / "bare")),
                "flow": Side(flow, (str(declaration), home, address)),
            },
            conditions.repeats,
        )
    extra = statistics.median(
        whole - work for whole, work in zip(found["flow"].values, found["bare"].values, strict=True)
    )
    yield Row.within(
        "flow/around",
        "The flow's overhead in a retraining of seven stages",
        extra,
        "s",
        3,
        len(found["flow"].values),
        f"A tiny model, every stage rerun: {found['flow'].median:.2f} s as a flow on a "
        f"running server, until everything is reported there; {found['bare'].median:.2f} "
        "s without Prefect.",
    )


def bare(declaration: str, home: Path) -> Turn:
    """Seconds of a retraining as plain Python."""
    settings = Settings.at(home)
    retrain_plain(declaration, settings=settings, notice=quiet)
    return lambda: timed(
        lambda: retrain_plain(
            declaration, settings=settings, selection=Selection.of(since="source"), notice=quiet
        )
    )


def flow(declaration: str, home: Path, address: str) -> Turn:
    """Seconds of the same as a flow on the server at `address`."""
    os.environ |= {"FOLIO_HOME": str(home), "PREFECT_API_URL": address}
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  # until this process ends: no notices
    from flows.server.lifecycle import prefect_api

    def retrain(since: StageName | None) -> None:
        with prefect_api(home):
            from flows.retrain import retrain as flow

            flow(declaration, since=since)

    retrain(None)
    return lambda: timed(lambda: retrain("source"))
