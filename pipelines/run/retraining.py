"""One retraining of one pipeline: its stages in order, its record, the samples as a substitute.

Plain Python: the Prefect flow passes its tasks to `Retraining.stage`, `retrain_plain` the stages
themselves; everything else is the same.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any

from pipelines.declaration.load import FULL, absolute, has_sample, load_spec
from pipelines.errors import FolioError, UnreachableError, UsageError
from pipelines.files.machine import one_line, refusal_of
from pipelines.network.credentials import refuse_secrets
from pipelines.registry.lookup import WAITS, waiting
from pipelines.run.earlier_run import EarlierRun
from pipelines.run.execute import (
    BY_ANOTHER,
    StageResult,
    execute_stage,
    refuse_other_bytes,
    replaced,
)
from pipelines.run.namesake import refuse_namesake
from pipelines.run.options import RunOptions
from pipelines.run.plan import Decision, decide, made_of, outdated
from pipelines.run.stage_log import StageLog, how_ended, staleness
from pipelines.run.upstream import chain
from pipelines.stages import STAGES, stage_named
from pipelines.store.artifacts import Progress
from pipelines.store.live_runs import living
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings
from pipelines.store.times import utc

Call = Callable[..., StageResult]  # (the Retraining, the results it needs) -> its own result
Notice = Callable[[str], None]


def on_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Retraining:
    """`with Retraining(…) as run:` then `run.stage(…)` for each stage; `run.record` at the end.

    The record is saved however the block ends. Raises UsageError on an invalid declaration, before
    anything is recorded.
    """

    def __init__(
        self,
        pipeline: str,
        options: RunOptions = RunOptions(),
        *,
        settings: Settings,
        notice: Notice = on_stderr,
        on_sample: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self._options, self._earlier = options, None
        profile, overrides = options.profile, options.overrides
        if options.using:
            self._earlier = EarlierRun.of(options.using, options.selection, settings)
            profile, overrides = self._earlier.declared(pipeline, profile, overrides)
        self._declared = (pipeline, profile or FULL, tuple(overrides))
        refuse_secrets(overrides)  # they are part of the record
        sample = self._earlier is not None and self._earlier.sample
        self.spec = load_spec(*self._declared, sample=sample)
        chain(*self._declared)  # refuses a circle
        refuse_namesake(pipeline, settings)
        self.selection = options.selection.within(self.spec)
        self.run = options.run or Runs.new_id(self.spec.name)
        if options.recorded and options.attempt == 1 and settings.runs.has(self.run):
            raise UsageError(f"there is a run {self.run} already; choose another name for this one")
        self.record: dict[str, Any] = {}
        self.drift: dict[str, Any] | None = None  # as returned by `drift.from_champion`
        self.notice, self._on_sample, self._log = notice, on_sample, StageLog()

    @property
    def declared(self) -> dict[str, Any]:
        """The arguments of `load_spec` for the same declaration elsewhere."""
        pipeline, profile, overrides = self._declared
        return {"pipeline": absolute(pipeline), "profile": profile, "overrides": list(overrides)}

    def stage(self, name: str, call: Call, *inputs: StageResult | None) -> StageResult | None:
        """`call(self, *inputs)` if the stage is selected, else None; noted in the record."""
        if name not in self.selection.stages:
            return None
        started = time.perf_counter()
        try:
            result = self._call(name, call, inputs)
        except BaseException as error:
            self._log.failed(name, error, time.perf_counter() - started)
            raise
        self._log.ended(result)
        self.notice(f"{self.spec.name} · {name}: {how_ended(result)}")
        for text in result.artifact.counts.get("notices", ()) if result.action != "reuse" else ():
            self.notice(f"{self.spec.name} · {name}: {text}")
        refuse_other_bytes(self.spec.name, result, self._spared(result))
        if name == "tokens":
            self._compare_texts()
        if name == "report":
            self._show_report(result)
        return result

    def _spared(self, result: StageResult) -> list[str]:
        """What was to be reused if this artifact had been rebuilt as it was."""
        if result.former is None or result.stage in self.selection.forced:
            return []
        before = self._log.artifacts
        return made_of(result.former, before, self.spec, self.settings, self.selection)

    def execute(
        self,
        name: str,
        inputs: tuple[StageResult, ...],
        progress: Callable[[str], Progress] | None = None,
    ) -> StageResult:
        """The stage itself, as plain Python; `progress` replaces the settings' own."""
        if self._earlier is not None and self.selection.needs_existing(name):
            return self._earlier.result(name, self.settings.store)
        settings = replace(
            self.settings, progress=progress or self.settings.progress, log=partial(self.log, name)
        )
        artifacts = {result.stage: result.artifact for result in inputs}
        return execute_stage(
            stage_named(name), self.spec, artifacts, settings, self.selection, self.run
        )

    def log(self, stage: str, text: str) -> None:
        """A line of a stage: for the one who watches, and where the settings keep lines."""
        self.notice(f"{self.spec.name} · {stage}: {text}")
        self.settings.log(text)

    def execute_elsewhere(
        self, name: str, inputs: tuple[StageResult, ...], work: Callable[[Decision], None]
    ) -> StageResult:
        """Like `execute`, but if the stage must run, `work` has another process publish it."""
        if self.selection.needs_existing(name):
            return self.execute(name, inputs)
        started = time.perf_counter()
        decision = self.decide(name, inputs)
        if decision.action == "reuse":
            return self.execute(name, inputs)
        work(decision)
        artifact = self.settings.store.open(name, decision.recipe.key)
        action: str = decision.action
        reason = decision.reason
        if artifact.manifest.get("run") != self.run:
            action, reason = "reuse", BY_ANOTHER
        seconds, former = round(time.perf_counter() - started, 3), replaced(decision, artifact)
        return StageResult(name, action, reason, seconds, artifact, former)

    def decide(self, name: str, inputs: tuple[StageResult, ...]) -> Decision:
        """The decision on a stage whose inputs are known."""
        artifacts = {result.stage: result.artifact for result in inputs}
        return decide(stage_named(name), self.spec, artifacts, self.settings, self.selection)

    def _compare_texts(self) -> None:
        from pipelines.release.drift import compared_texts

        corpus, tokens = self._log["corpus"], self._log["tokens"]
        self.drift = compared_texts(
            self.settings,
            self.spec,
            corpus.artifact,
            tokens.artifact,
            any(one.action != "reuse" for one in (corpus, tokens)),
            self.notice,
        )

    def _show_report(self, report: StageResult) -> None:
        """In MLflow too, if a version was registered. An error in this does not stop a run."""
        from pipelines.tracking.report_files import attach_report

        release = self._log.artifacts.get("release")
        version = release.counts["version"] if release else None
        if report.action == "reuse" or version is None:
            return
        try:
            attach_report(self.settings.home, self.spec.name, version, report.artifact.path)
        except (FolioError, OSError) as error:
            self.notice(f"{self.spec.name}: the report is not in MLflow: {one_line(error)}")

    def _call(self, name: str, call: Call, inputs: tuple[StageResult | None, ...]) -> StageResult:
        try:
            return call(self, *inputs)
        except FolioError as error:
            if name != "source" or not self._sample_helps(error):
                raise
            self._use_sample(error)
            return call(self, *inputs)

    def _sample_helps(self, error: FolioError) -> bool:
        absent = isinstance(error, UnreachableError) or self.selection.needs_existing("source")
        return (
            absent
            and self.settings.allow_sample
            and not self.spec.sample
            and has_sample(self._declared[0])
        )

    def _use_sample(self, error: FolioError) -> None:
        self.spec = load_spec(*self._declared, sample=True)
        self.selection = self._options.selection.within(self.spec)
        self.notice(f"WARNING: {error}")
        self.notice(
            f"WARNING: {self.spec.name} continues with Folio's small SAMPLE text: the "
            "result is for testing, not a real model"
        )
        self._on_sample()

    def __enter__(self) -> Retraining:
        self._started, self._clock = time.time(), time.perf_counter()
        self._ending = ExitStack()  # the run is live until its record is saved
        try:
            if self._options.recorded:
                self._ending.enter_context(living(self.settings.runs.folder, self._beginning()))
        except OSError as problem:
            raise self._unwritable(problem) from problem
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        seconds, stale = time.perf_counter() - self._clock, [] if error else self._stale()
        self.record = self._beginning() | self._log.summary(error, seconds, stale, self.drift)
        if self.record["verdict"] == WAITS and not error:
            self.record["waits"] = waiting(self.settings.home, self.spec.name)
        if self.record["stale"]:
            self.notice(staleness(self.spec.name, self.record["stale"]))
        try:
            with self._ending:
                if self._options.recorded:
                    self.settings.runs.save(self.record)
        except OSError as problem:
            if error is None:
                raise self._unwritable(problem) from problem
            self.notice(str(self._unwritable(problem)))  # the run's own error is more important

    def _unwritable(self, problem: OSError) -> FolioError:
        why = refusal_of(problem) or f"{problem.strerror}; fix it (permissions) and run again"
        return FolioError(
            f"{self.settings.runs.folder}: run {self.run}: its record could not be "
            f"written, so `folio runs` does not list it: {why}; published artifacts are "
            "kept"
        )

    def _beginning(self) -> dict[str, Any]:
        """The record at the start of the run."""
        return {
            "run": self.run,
            **self.declared,
            "pipeline": self.spec.name,
            "declared": self.declared["pipeline"],
            "sample": self.spec.sample,
            "started": utc(self._started),
            "attempt": self._options.attempt,
        }

    def _stale(self) -> list[str]:
        """The later stages that are no longer based on the current artifacts."""
        if not self.selection.forced:
            return []
        return outdated(self._log.artifacts, self.spec, self.settings)


def retrain_plain(
    pipeline: str,
    profile: str | None = None,
    overrides: tuple[str, ...] = (),
    *,
    settings: Settings,
    notice: Notice = on_stderr,
    **asked: Any,
) -> dict[str, Any]:
    """The record of a retraining without Prefect; `asked` are the other RunOptions. Raises the
    errors of a stage."""
    results: dict[str, StageResult | None] = {}
    options = RunOptions(profile, overrides, **asked)
    with Retraining(pipeline, options, settings=settings, notice=notice) as retraining:
        for stage in STAGES:
            inputs = [] if stage.upstream else [results[name] for name in stage.inputs]
            results[stage.name] = retraining.stage(stage.name, _plain(stage.name), *inputs)
    return retraining.record


def _plain(stage: str) -> Call:
    return lambda run, *inputs: run.execute(stage, tuple(filter(None, inputs)))
