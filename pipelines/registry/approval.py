"""A person's answer about a version that waits for approval; a yes is `champions.promote`."""

from __future__ import annotations

from pathlib import Path

from pipelines.registry.champions import digests, journal_of, record, settle
from pipelines.registry.journal import Line
from pipelines.registry.lookup import VERDICT_TAG, named_version
from pipelines.registry.mlflow_access import mlflow_at


def decline(home: Path, name: str, number: int, reason: str) -> Line:
    """The version stays what it is, and waits no longer. Returns its journal line."""
    version = named_version(home, name, number)
    with mlflow_at(home) as (_, client):
        settle(home, client, name)
        lines = journal_of(home).lines(name)
        line = record(
            home,
            client,
            name,
            action="decline",
            version=number,
            champion=lines[-1]["champion"] if lines else None,
            reason=reason,
            digests=digests(version.tags),
        )
        client.set_model_version_tag(name, str(number), VERDICT_TAG, "reject")
        return line
