"""What a stage publishes in Prefect: tables of counts, pages with pictures, links."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from pipelines.files.machine import one_line
from pipelines.report.visible import visible
from pipelines.run.execute import StageResult
from pipelines.run.retraining import Notice

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
    create_table_artifact(
        rows,
        artifact_key(pipeline, result.stage),
        visible(
            f"{result.stage} of {pipeline}: {result.action} ({result.reason}), "
            f"{result.seconds:.1f} s\n\n`{result.artifact.path}`"
        ),
    )


def publish_pages(pipeline: str, result: StageResult, inputs: tuple[StageResult, ...]) -> None:
    """The texts and pictures of an artifact, and links to more."""
    from pipelines.report.stage_pages import links, pages

    for page in pages(result.artifact, {one.stage: one.artifact for one in inputs}):
        create_markdown_artifact(page.text, artifact_key(pipeline, page.name), page.title)
    for link in links(result.artifact):
        create_link_artifact(
            link.address, link.title, artifact_key(pipeline, link.name), f"{link.title}: {pipeline}"
        )


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
