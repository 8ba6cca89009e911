"""Temporary homes with tiny pipelines on the samples, and what must be true of a home at rest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil

from pipelines.files.home import PROJECT, private_files
from pipelines.files.locks import is_locked
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import versions
from pipelines.store.live_runs import live_runs
from torture.forge import Forge

MADE = ("source", "corpus", "tokens", "batches", "model", "metrics")  # equal in every home
PLAY = """\
title: Tiny play
source: {path: texts/play.txt}
corpus: {reader: text, split: contiguous, validation: 0.1, test: 0.1}
tokens: {kind: char}
batches: {batch_size: 8, sequence_length: 50}
model: {kind: language_model, cell: gru, embedding: 6, units: [11]}
training: {epochs: 2, learning_rate: 0.02, checkpoint_every: 0.2}
evaluation: {start: "MARIAN:", sample_length: 30, temperatures: [1.0]}
registry: {metric: bits_per_character, floor: 8.0}
"""
REVIEWS = """\
title: Tiny reviews
source: {path: texts/reviews.csv}
corpus: {reader: csv, split: hash, validation: 0.2, test: 0.2, text_column: review,
         label_column: sentiment}
tokens: {kind: word, max_tokens: 40}
batches: {batch_size: 16, max_buckets: 2}
model: {kind: classifier, cell: lstm, embedding: 6, units: [5]}
training: {epochs: 2, learning_rate: 0.02, checkpoint_every: 0.2}
registry: {metric: accuracy, floor: 0.1}
"""
PIPELINES = {"play": PLAY, "reviews": REVIEWS}
OURS = ("FOLIO_", "PREFECT_", "MLFLOW_")


@dataclass(frozen=True)
class Said:
    """How a command ended; `code` None: it did not end in time."""

    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def is_one_line(self) -> bool:
        """An error as a user should see it; `folio run` tells it at the end of what it has done."""
        errors = [line for line in self.err.splitlines() if line.startswith("folio: ")]
        errors += [line for line in self.out.splitlines() if line.startswith("  failed ")]
        return self.code in (1, 2) and len(errors) == 1 and "Traceback" not in self.out + self.err


@dataclass(frozen=True)
class Homes:
    """All that a harness makes lies in `folder`."""

    folder: Path

    @cached_property
    def forge(self) -> Forge:
        return Forge(PROJECT, environment(), self.folder / "forge.log")

    def close(self) -> None:
        if "forge" in vars(self):
            self.forge.close()

    @cached_property
    def empty(self) -> Path:
        """A home whose MLflow database is made: that takes seconds."""
        home = self.folder / "empty"
        home.mkdir(parents=True, mode=0o700)
        with private_files(), mlflow_at(home) as (_, client):
            client.search_registered_models()
        return home

    @cached_property
    def trained(self) -> Path:
        """A home in which all pipelines have run, undisturbed. Read only."""
        home = self.new(self.folder / "trained")
        for name in PIPELINES:
            log = self.folder / f"{name}.log"
            status = self.forge.run(
                "torture.work:run", [str(home), str(self.declared(name))], home, log
            )
            if status:
                raise RuntimeError(f"{name} ended with {status}: {log.read_text()[-2000:]}")
        return home

    @cached_property
    def content(self) -> dict[str, dict[str, str]]:
        """{pipeline: {stage: the digest of its artifact}}, undisturbed."""
        return {name: content_of(self.trained, name) for name in PIPELINES}

    def declared(self, name: str) -> Path:
        """The declaration of one of PIPELINES."""
        path = self.folder / "declared" / f"{name}.yaml"
        if not path.exists():
            shutil.copytree(PROJECT / "data" / "samples", path.parent / "texts", dirs_exist_ok=True)
            path.write_text(PIPELINES[name], encoding="utf-8")
        return path

    def new(self, home: Path, like: Path | None = None) -> Path:
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(like or self.empty, home, symlinks=True)
        return home

    def folio(self, home: Path, *arguments: object, seconds: float = 900, **changes: Any) -> Said:
        """Runs a command of Folio's as a user would."""
        began = time.monotonic()
        process = self.started(home, *arguments, **changes)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            return Said(None, out, err, time.monotonic() - began)
        return Said(process.returncode, out, err, time.monotonic() - began)

    def started(self, home: Path, *arguments: object, **changes: Any) -> subprocess.Popen[str]:
        options: dict[str, Any] = {"cwd": self.folder, "start_new_session": True} | changes
        options["env"] = environment() | {"FOLIO_HOME": str(home)} | options.pop("env", {})
        return subprocess.Popen(
            [sys.executable, "-m", "folio", *map(str, arguments)],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
        )


def environment() -> dict[str, str]:
    """Without what a user has set for homes of his own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return kept | {"PYTHONPATH": str(PROJECT), "NO_COLOR": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


def content_of(home: Path, pipeline: str) -> dict[str, str]:
    """{stage: the digest of the artifact}, of what the store has of a pipeline."""
    found = {}
    for path in sorted((home / "store").glob("*/[0-9a-f]*/manifest.json")):
        with suppress(ValueError, OSError):
            manifest = json.loads(path.read_bytes())
            if manifest["pipeline"] == pipeline and manifest["stage"] in MADE:
                found[manifest["stage"]] = manifest["digest"]
    return found


def unrest(home: Path) -> Iterator[str]:
    """What an undisturbed home does not have: half-written things, held locks, live runs."""
    store = home / "store"
    for path in (*store.glob("*/.tmp-*"), *store.glob("*/.work-*")):
        yield f"{path.relative_to(home)} is left"
    for path in (*store.glob("*/.lock-*"), *home.glob("*/*.lock")):
        if is_locked(path, alone=True):
            yield f"{path.relative_to(home)} is still held"
    for record in live_runs(home / "runs"):
        yield f"run {record.get('run')} still counts as active"


def registered(home: Path, pipeline: str) -> list[int]:
    return sorted(version.number for version in versions(home, pipeline))


def processes_of(home: Path) -> list[psutil.Process]:
    """All processes that have this home in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.environ().get("FOLIO_HOME") == str(home):
                found.append(process)
    return found
