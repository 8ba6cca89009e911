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
from pipelines.declaration.reading.declared import pipeline_name
from pipelines.errors import FolioError, PendingError
from pipelines.files.home import why_closed
from pipelines.network.credentials import MIRROR, refuse_secrets
from pipelines.run.earlier_run import EarlierRun
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.run.upstream import chain
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import dashboard_after


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
    cluster: str | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "mirror"}

    @property
    def selection(self) -> Selection:
        return Selection.of(self.only, self.since, self.until)


Variant = tuple[str, tuple[str, ...]]  # a pipeline, and its own overrides
Ended = tuple[dict[str, Any], Exception | None]  # a run's record, and what it failed with
Runner = Callable[[str, tuple[str, ...], FlowOptions], Ended]


def run_variants(
    wanted: list[Variant], settings: Settings, options: FlowOptions
) -> tuple[list[dict[str, Any]], int]:
    """The records of all runs and the command's exit code. A failing pipeline does not stop the
    others.

    Raises UsageError before anything runs if a declaration or the selection is invalid.
    """
    selection = options.selection
    if options.using:
        EarlierRun.of(options.using, selection, settings)
    refuse_invalid(wanted, options.profile)
    if why_closed(settings.home):
        return _reused(wanted, settings, options), 0
    if (idle := _nothing_to_do(wanted, settings, options)) is not None:
        return idle, 0
    with runner(settings, options) as run:
        ended = [run(name, overrides, options) for name, overrides in wanted]
    return [record for record, _ in ended], max((code_of(error) for _, error in ended), default=0)


def refuse_invalid(wanted: list[Variant], profile: str | None) -> None:
    """Raises UsageError, before anything runs, if one of the declarations is invalid."""
    for name, overrides in wanted:
        refuse_secrets(overrides)  # Prefect stores and shows the parameters of a flow
        load_spec(name, profile or FULL, overrides)


def code_of(error: Exception | None) -> int:
    """The exit code of a command whose run ended so."""
    return getattr(error, "exit_code", 1) if error else 0


@contextmanager
def runner(settings: Settings, options: FlowOptions) -> Iterator[Runner]:
    """`run(pipeline, overrides, options)` for as many runs as there are, on one Prefect server;
    it returns the run's record and the error that ended it, if any."""
    from flows.server.lifecycle import prefect_api

    with (
        native_notices_to(settings.home / NATIVE_LOG),
        prefect_api(settings.home),
        _noted_interrupts() as interrupted,
        _mirrored_by(options.mirror),
    ):
        from flows.retrain import retrain

        def run(name: str, overrides: tuple[str, ...], options: FlowOptions) -> Ended:
            failure = None
            run = Runs.new_id(load_spec(name, options.profile or FULL, overrides).name)
            try:
                retrain(name, overrides=list(overrides), run=run, **options.parameters)
            except Exception as error:  # it is in the record; other runs are not affected
                if interrupted():
                    raise KeyboardInterrupt from error
                if not settings.runs.has(run):
                    raise
                failure = error
            if interrupted():  # the exception was swallowed
                raise KeyboardInterrupt
            return settings.runs.get(run), failure

        yield run


def run_upstream(
    wanted: list[Variant], settings: Settings, options: FlowOptions
) -> tuple[list[dict[str, Any]], int]:
    """Like `run_variants`, with the pipelines that `wanted` start from and that are not among them,
    in their profile full."""
    first: dict[str, None] = {}
    for name, overrides in wanted:
        first |= dict.fromkeys(chain(name, options.profile or FULL, overrides))
    named = {pipeline_name(name) for name, _ in wanted}
    others: list[Variant] = [(name, ()) for name in first if pipeline_name(name) not in named]
    plain = replace(options, profile=None, only=None, since=None, using=None)
    return run_variants(others, settings, plain) if others else ([], 0)


def upstream_first(wanted: list[Variant], profile: str | None) -> list[Variant]:
    """What others start from has fewer pipelines above it."""
    return sorted(wanted, key=lambda one: len(chain(one[0], profile or FULL, one[1])))


def _reused(
    wanted: list[Variant], settings: Settings, options: FlowOptions
) -> list[dict[str, Any]]:
    """The records of runs in a read-only home, where every artifact exists already. Needs no server
    and records nothing. Raises FolioError or OSError if a stage would have to run."""
    closed = why_closed(settings.home)
    with Console() as console:
        try:
            records = _all_reused(wanted, settings, options, console.notice)
        except PendingError as error:
            raise FolioError(f"{closed}; {error}") from error
        console.notice(f"nothing to do, and nothing recorded: {closed}")
    return records


def _nothing_to_do(
    wanted: list[Variant], settings: Settings, options: FlowOptions
) -> list[dict[str, Any]] | None:
    """The recorded runs if every stage of all of them is reused; else None, and nothing is
    recorded: the flow does the work, and shows what fails.

    Prefect is not imported. At another PREFECT_API_URL than the home's own, only its client can
    report.
    """
    from flows.server.idle_runs import report
    from flows.server.lifecycle import address_of

    own = address_of(settings.home / "prefect")
    if options.selection.forced or options.using or os.environ.get("PREFECT_API_URL", own) != own:
        return None
    notices: list[str] = []
    try:
        records = _all_reused(wanted, settings, options, notices.append)
    except (FolioError, OSError):
        return None
    if any((record["drift"] or {}).get("drifted") for record in records):
        return None  # Prefect gets an event
    with Console() as console, dashboard_after(settings, console.notice):
        for text in notices:
            console.notice(text)
        for record in records:
            settings.runs.save(record)
            report(settings.home, record, options.parameters, own)
    return records


def _all_reused(
    wanted: list[Variant], settings: Settings, options: FlowOptions, notice: Callable[[str], None]
) -> list[dict[str, Any]]:
    """The records, unsaved. Raises PendingError if a stage would have to run."""
    places = replace(
        settings,
        mirror=options.mirror or os.environ.get(MIRROR),
        offline=options.offline,
        allow_sample=options.allow_sample,
        reuse_only=True,
    )
    return [
        retrain_plain(
            name,
            options.profile,
            overrides,
            settings=places,
            notice=notice,
            selection=options.selection,
            using=options.using,
            recorded=False,
        )
        for name, overrides in wanted
    ]


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
