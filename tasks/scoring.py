"""The scoring of one file as a Prefect task, and the table that it publishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

from prefect import State, task
from prefect.artifacts import TableArtifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import task_run
from prefect.states import Completed

from pipelines.report.visible import visible
from pipelines.run.retraining import Notice
from pipelines.scoring import score_file
from pipelines.scoring.score_file import RegisteredModel
from pipelines.scoring.score_order import Order
from pipelines.store.artifacts import Progress
from tasks.artifacts import artifact_key, put, unseen
from tasks.events import emit_drift
from tasks.failures import failed
from tasks.reporting import note_task_run

MOST_LISTED = 10  # labels


@task(
    name="score_file",
    task_run_name="{model.name} · {order.file.name}",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def _score(model: RegisteredModel, order: Order, progress: Progress) -> State:
    note_task_run(str(task_run.id))
    try:
        summary = score_file.score_file(model, order, progress)
    except Exception as error:
        return failed(error)
    return Completed(message=f"{summary['rows']:,} rows", data=summary)


def score(model: RegisteredModel, order: Order, run: str, progress: Progress) -> dict[str, Any]:
    """Score one file and return the summary; emits an event if the text has drifted. Raises what
    `score_file` raises."""
    state = _score(model, order, progress, return_state=True)
    # Prefect returns the data of the task's State, not that State.
    summary = cast(dict[str, Any], state.result())
    emit_drift(model.name, summary["drift"], run=run, file=summary["file"], out=summary["out"])
    return summary


def publish_scores(pipeline: str, summaries: Sequence[dict[str, Any]], notice: Notice) -> None:
    """A table of the scored files."""
    with unseen(notice, f"{pipeline}: the table of scored files"):
        put(
            TableArtifact(
                table=[_row(one) for one in summaries],
                key=artifact_key(pipeline, "scored"),
                description=f"{len(summaries)} files scored by the champion of {pipeline}",
            )
        )


def _row(summary: dict[str, Any]) -> dict[str, Any]:
    drift, labels = summary["drift"], summary.get("labels", {})
    figures = ("bits_per_character", "perplexity")  # of a language model
    frequent = dict(Counter(labels).most_common(MOST_LISTED))
    return {
        "file": visible(summary["file"]),
        "scores": visible(summary["out"]),
        "version": summary["version"],
        "rows": summary["rows"],
        **{label: rows for label, rows in labels.items() if label in frequent},
        **{name.replace("_", " "): summary[name] for name in figures if name in summary},
        "not scored": sum(summary["errors"].values()),
        "drifted": "unknown" if drift is None else ", ".join(drift["drifted"]) or "no",
        "seconds": summary["seconds"],
    }
