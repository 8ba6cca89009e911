"""Runs pipelines one after another on a Prefect server, for the command line."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from flows.display.console import NATIVE_LOG, Console, native_notices_to
from pipelines.declaration.load import FULL, load_spec
from pipelines.files.home import why_closed
from pipelines.network.credentials import MIRROR, refuse_secrets
from pipelines.run.earlier_run import EarlierRun
from pipelines.run.plan import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.run.upstream import chain
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings


@dataclass(frozen=True)
class FlowOptions:
    """A command's options for its runs, which are the parameters of the flow `retrain`; `mirror` is
    passed through the environment."""

    profile: str | None = None
    only: str | None = None
    since: str | None = None
    until: str | None = None
    using: str | None = None
    train_in: str = "auto"
    require_gpu: bool = False
    mirror: str | None = None
    offline: bool = False
    allow_sample: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "mirror"}

    @property
    def selection(self) -> Selection:
        return Selection.of(self.only, self.since, self.until)


Variant = tuple[str, tuple[str, ...]]  # a pipeline, and its own overrides


def run_variants(
    wanted: list[Variant], settings: Settings, options: FlowOptions
) -> tuple[list[dict[str, Any]], int]:
    """The records of all runs and the command's exit code. A failing pipeline does not stop the
    others.

    Raises UsageError before anything runs if a declaration or the selection is invalid.
    """
    selection = options.selection
    for _, own in wanted:
        refuse_secrets(own)  # Prefect stores and shows the parameters of a flow
    if options.using:
        EarlierRun.of(options.using, selection, settings)
    specs = [load_spec(name, options.profile or FULL, overrides) for name, overrides in wanted]
    if why_closed(settings.home):
        return _reused(wanted, settings, options), 0
    from flows.server.lifecycle import prefect_api

    records, code = [], 0
    with (
        native_notices_to(settings.home / NATIVE_LOG),
        prefect_api(settings.home),
        _noted_interrupts() as interrupted,
        _mirrored_by(options.mirror),
    ):
        from flows.retrain import retrain

        for (name, overrides), spec in zip(wanted, specs, strict=True):
            run = Runs.new_id(spec.name)
            try:
                retrain(name, overrides=list(overrides), run=run, **options.parameters)
            except Exception as error:  # the error is in the record; the other pipelines still run
                if interrupted():
                    raise KeyboardInterrupt from error
                if not settings.runs.has(run):
                    raise
                code = max(code, getattr(error, "exit_code", 1))
            records.append(settings.runs.get(run))
            if interrupted():  # the exception was swallowed
                raise KeyboardInterrupt
    return records, code


def run_upstream(
    wanted: list[Variant], settings: Settings, options: FlowOptions
) -> tuple[list[dict[str, Any]], int]:
    """Like `run_variants`, with the pipelines that `wanted` start from, in their scheduled
    settings."""
    first: dict[str, None] = {}
    for name, overrides in wanted:
        first |= dict.fromkeys(chain(name, options.profile or FULL, overrides))
    named = {name for name, _ in wanted}
    plain = replace(options, profile=None, only=None, since=None, using=None)
    return run_variants([(name, ()) for name in first if name not in named], settings, plain)


def _reused(
    wanted: list[Variant], settings: Settings, options: FlowOptions
) -> list[dict[str, Any]]:
    """The records of runs in a read-only home, where every artifact exists already. Needs no server
    and records nothing. Raises FolioError or OSError if a stage would have to run."""
    with Console() as console:
        records = [
            retrain_plain(
                name,
                options.profile,
                overrides,
                settings=replace(settings, mirror=options.mirror, offline=options.offline),
                notice=console.notice,
                selection=options.selection,
                using=options.using,
                recorded=False,
            )
            for name, overrides in wanted
        ]
        console.notice(f"nothing to do, and nothing recorded: {why_closed(settings.home)}")
    return records


@contextmanager
def _mirrored_by(mirror: str | None) -> Iterator[None]:
    """Passes the mirror to the flow through the environment: Prefect would store and show its
    password."""
    before = os.environ.get(MIRROR)
    if mirror:
        os.environ[MIRROR] = mirror
    try:
        yield
    finally:
        os.environ.pop(MIRROR, None)
        if before is not None:
            os.environ[MIRROR] = before


@contextmanager
def _noted_interrupts() -> Iterator[Callable[[], bool]]:
    """Tells whether Ctrl-C was pressed: libraries turn its KeyboardInterrupt into other errors."""
    pressed = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
