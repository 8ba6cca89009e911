"""The stages as Prefect tasks. Each takes the Retraining and the results that it needs, and returns
its StageResult, None if it is not selected, or raises the stage's error."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps

from prefect import State, task
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run
from prefect.states import Completed

from pipelines.run.execute import StageResult
from pipelines.run.retraining import Retraining
from tasks.approval import ask_for_approval
from tasks.artifacts import publish
from tasks.cluster_steps import execute as in_steps
from tasks.events import emit_champion, emit_drift
from tasks.failures import failed
from tasks.pool import PoolTraining
from tasks.progress import watched
from tasks.reporting import note_task_run

StageTask = Callable[..., StageResult | None]
Execute = Callable[[Retraining, str, tuple[StageResult, ...]], StageResult]
STATE_NAMES = {"run": "Completed", "reuse": "Reused", "rebuild": "Rebuilt"}


def stage_task(stage: str) -> Callable[[Callable[..., State]], StageTask]:
    """Turns a function that returns a State into the task of a stage.

    The artifact store keeps and reuses results, so Prefect neither stores nor caches them.
    """

    def decorate(body: Callable[..., State]) -> StageTask:
        tracked = task(
            name=body.__name__,
            task_run_name=f"{{run.spec.name}} · {stage}",
            cache_policy=NO_CACHE,
            persist_result=False,
        )(body)

        @wraps(body)
        def call(run: Retraining, *inputs: StageResult | None) -> StageResult | None:
            result = run.stage(
                stage, lambda *given: tracked(*given, return_state=True).result(), *inputs
            )
            if stage == "tokens":
                emit_drift(run.spec.name, run.drift, run=run.run)
            if stage == "release":
                emit_champion(run.spec.name, result, run=run.run)
                ask_for_approval(run.spec.name, result, run.notice)
            return result

        return call

    return decorate


def attempt(
    run: Retraining, stage: str, *inputs: StageResult, execute: Execute = Retraining.execute
) -> State:
    """Run the stage; the State says whether it ran or was reused, or in one line why it failed."""
    note_task_run(str(task_run.id))
    try:
        result = execute(run, stage, inputs)
    except Exception as error:
        return failed(error)
    publish(run.spec.name, result, inputs, run.notice)
    return Completed(name=STATE_NAMES[result.action], message=result.reason, data=result)


@stage_task("source")
def download(run: Retraining) -> State:
    """Fetch and verify the raw files."""
    return attempt(run, "source")


@stage_task("corpus")
def build_corpus(run: Retraining, source: StageResult) -> State:
    """Turn raw files into documents, each in a split."""
    return attempt(run, "corpus", source, execute=in_steps)


@stage_task("start")
def take_start(run: Retraining) -> State:
    """Take the vocabulary and the model of the pipeline that this one starts from."""
    return attempt(run, "start")


@stage_task("tokens")
def tokenize(run: Retraining, corpus: StageResult, start: StageResult | None) -> State:
    """Turn documents into token ids, with the vocabulary."""
    return attempt(run, "tokens", *filter(None, (corpus, start)), execute=in_steps)


@stage_task("batches")
def write_batches(run: Retraining, tokens: StageResult) -> State:
    """Turn token ids into padded batches."""
    return attempt(run, "batches", tokens, execute=in_steps)


@stage_task("model")
def train(run: Retraining, batches: StageResult, start: StageResult | None) -> State:
    """Train a model on the batches in this process, with progress in Prefect."""
    progress = watched(run.spec.name, run.settings.progress, run.notice)
    execute = partial(Retraining.execute, progress=progress)
    return attempt(run, "model", *filter(None, (batches, start)), execute=execute)


@stage_task("model")
def train_in_pool(run: Retraining, batches: StageResult, start: StageResult | None) -> State:
    """Train on a worker of the work pool gpu."""
    inputs = list(filter(None, (batches, start)))
    keys = {result.stage: result.artifact.key for result in inputs}
    progress = watched(run.spec.name, run.settings.progress, run.notice)
    training = PoolTraining(run, keys, progress("model"))
    execute = partial(Retraining.execute_elsewhere, work=training)
    return attempt(run, "model", *inputs, execute=execute)


@stage_task("mix")
def mix_with_counting(
    run: Retraining,
    model: StageResult,
    batches: StageResult,
    tokens: StageResult,
    corpus: StageResult,
) -> State:
    """Train the counting model that the network is mixed with, and weigh both on validation."""
    return attempt(run, "mix", model, batches, tokens, corpus)


@stage_task("metrics")
def evaluate(
    run: Retraining,
    model: StageResult,
    batches: StageResult,
    tokens: StageResult,
    corpus: StageResult,
    mix: StageResult | None,
) -> State:
    """Evaluate the model on the held-out text."""
    return attempt(run, "metrics", *filter(None, (model, batches, tokens, corpus, mix)))


@stage_task("release")
def register(
    run: Retraining,
    model: StageResult,
    metrics: StageResult,
    tokens: StageResult,
    corpus: StageResult,
    mix: StageResult | None,
) -> State:
    """Register a version and decide whether it becomes champion."""
    return attempt(run, "release", *filter(None, (model, metrics, tokens, corpus, mix)))


@stage_task("report")
def draw_report(
    run: Retraining,
    corpus: StageResult,
    tokens: StageResult,
    batches: StageResult,
    model: StageResult,
    mix: StageResult | None,
    metrics: StageResult,
    release: StageResult | None,
) -> State:
    """Draw the report; without a verdict in a run that ends with the metrics."""
    found = filter(None, (corpus, tokens, batches, model, mix, metrics, release))
    return attempt(run, "report", *found)
