"""The names of the classes that a corpus has."""

from __future__ import annotations

from pipelines.store.artifacts import Artifact

FOLDER_LABELS = ["negative", "positive"]


def labels_of(corpus: Artifact) -> list[str]:
    """In the order of their numbers: those that were found, else those declared."""
    declared = corpus.manifest["config"].get("corpus.labels", FOLDER_LABELS)
    return list(corpus.counts.get("labels") or declared)
