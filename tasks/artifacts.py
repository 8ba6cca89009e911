"""What a stage publishes in Prefect: tables of counts, pages with pictures, links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.artifacts import Artifact, LinkArtifact, MarkdownArtifact, TableArtifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.runtime import flow_run

from pipelines.files.machine import one_line
from pipelines.report.visible import visible
from pipelines.run.execute import StageResult
from pipelines.run.retraining import Notice
from tasks.synchronous import in_thread

MAX_ROWS = 200  # of a table


def artifact_key(pipeline: str, name: str) -> str:
    """Prefect allows only lower case letters, digits and dashes."""
    return f"{pipeline}-{name}".replace("_", "-")


@contextmanager
def unseen(notice: Notice, what: str) -> Iterator[None]:
    """Turns any error in publishing to Prefect into one notice, and continues.

    An unavailable server, an invalid address in the environment, a picture that cannot be drawn:
    none of these should fail a stage that is done.
    """
    try:
        yield
    except Exception as error:
        notice(f"{what} is not shown in Prefect: {one_line(error)}")


def publish(
    pipeline: str, result: StageResult, inputs: tuple[StageResult, ...], notice: Notice
) -> None:
    """Publish the table of counts, and for a stage that ran now also its pages and links."""
    with unseen(notice, f"{pipeline} · {result.stage}: the result"):
        publish_counts(pipeline, result)
        if result.action != "reuse":
            publish_pages(pipeline, result, inputs)


def publish_counts(pipeline: str, result: StageResult) -> None:
    """A table of what the stage counted, whether it ran now or was reused."""
    rows = [{"count": name, "value": value} for name, value in flat(result.artifact.counts)]
    if len(rows) > MAX_ROWS:
        rows[MAX_ROWS:] = [{"count": "…", "value": f"{len(rows) - MAX_ROWS} more"}]
    said = (
        f"{result.stage} of {pipeline}: {result.action} ({result.reason}), "
        f"{result.seconds:.1f} s\n\n`{result.artifact.path}`"
    )
    key = artifact_key(pipeline, result.stage)
    put(TableArtifact(table=rows, key=key, description=visible(said)))


def publish_pages(pipeline: str, result: StageResult, inputs: tuple[StageResult, ...]) -> None:
    """The texts and pictures of an artifact, and links to more."""
    from pipelines.report.stage_pages import links, pages

    for page in pages(result.artifact, {one.stage: one.artifact for one in inputs}):
        key = artifact_key(pipeline, page.name)
        put(MarkdownArtifact(markdown=page.text, key=key, description=page.title))
    for link in links(result.artifact):
        key, said = artifact_key(pipeline, link.name), f"{link.title}: {pipeline}"
        put(LinkArtifact(link=link.address, link_text=link.title, key=key, description=said))


def put(artifact: Artifact) -> None:
    """One card a key: what an earlier attempt of this run published is replaced, in its place."""
    if earlier := _earlier(str(artifact.key)):
        data = in_thread(artifact.format())
        with get_client(sync_client=True) as client:
            client.update_artifact(
                earlier, ArtifactUpdate(data=data, description=artifact.description)
            )
    else:
        in_thread(artifact.create())


def _earlier(key: str) -> UUID | None:
    if flow_run.run_count < 2:
        return None
    run = ArtifactFilterFlowRunId(any_=[UUID(str(flow_run.id))])
    wanted = ArtifactFilter(flow_run_id=run, key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        return next((one.id for one in client.read_artifacts(artifact_filter=wanted)), None)


def flat(counts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, readable value) of nested counts."""
    for name, value in counts.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield visible(f"{prefix}{name}"), visible(_readable(value))


def _readable(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_readable, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
