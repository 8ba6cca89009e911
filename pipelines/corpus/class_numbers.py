"""Which classes there are to learn, and their numbers."""

from __future__ import annotations

import numpy as np

from pipelines.corpus.division.listing import Listing
from pipelines.corpus.division.splits import TRAIN, Assignment
from pipelines.corpus.text_cache import Texts
from pipelines.declaration.data_sections import SPLITS, CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.documents import Notes
from pipelines.readers.labels import in_order

NOT_IN_TRAIN = "label-not-in-train"


def check_occurrences(listing: Listing, texts: Texts, spec: CorpusSpec, notes: Notes) -> None:
    """Raises FolioError for a label that occurs once: it can be learned or measured, not both.
    Two declared labels are as they are."""
    labels = spec.labels or notes.labels.names
    if not spec.labelled or (spec.labels and len(labels) == 2):
        return
    usable = np.where(listing.usable(), listing.labels, np.nan)
    once = np.flatnonzero(by_label(usable, len(labels)) == 1)
    if not len(once):
        return
    first = int(np.flatnonzero(np.isin(usable, once))[0])
    more = f" (as {len(once) - 1:,} more labels do)" if len(once) > 1 else ""
    raise FolioError(
        f"{texts.names_of([first])[first]}: the label {labels[int(usable[first])]!r} occurs only "
        f"here{more}, so it cannot be both learned and tested; fix it, give more documents, or "
        "list in corpus.labels only those to learn"
    )


def renumbered(
    listing: Listing, assignment: Assignment, spec: CorpusSpec, notes: Notes
) -> list[str]:
    """The labels in the order of their numbers. If none are declared they are those of train, in
    sorted order; documents with others are quarantined."""
    if spec.labels or not spec.labelled:
        return list(spec.labels or ())
    fates, names = assignment.fates, notes.labels.names
    in_train = by_label(listing.labels[fates.among(TRAIN)], len(names))
    chosen = in_order([names[label] for label in np.flatnonzero(in_train).tolist()])
    numbers = np.full(len(names) + 1, np.nan, np.float32)
    numbers[[names.index(name) for name in chosen]] = np.arange(len(chosen))
    labelled = ~np.isnan(listing.labels)
    listing.labels = numbers[np.where(labelled, listing.labels, len(names)).astype(np.int64)]
    fates.put(labelled & np.isnan(listing.labels) & fates.among(*SPLITS), NOT_IN_TRAIN)
    return chosen


def check_train(
    listing: Listing, assignment: Assignment, labels: list[str], spec: CorpusSpec
) -> None:
    """Raises FolioError if train lacks a label: nothing could be learned."""
    if not spec.labelled:
        return
    if len(labels) < 2:
        have = (
            f"every document of the train split has the label {labels[0]!r}"
            if labels
            else ("no document of the train split has a label")
        )
        raise FolioError(f"{have} (column {spec.label_column!r}); a classifier needs two labels")
    found = by_label(listing.labels[assignment.fates.among(TRAIN)], len(labels))
    missing = [label for value, label in enumerate(labels) if not found[value]]
    if not missing:
        return
    others = ""
    if len(labels) == 2:
        there = 1 - labels.index(missing[0])
        others = f", {found[there]:,} have {labels[there]!r}"
    elif len(missing) > 1:
        others = f", nor {len(missing) - 1:,} more of the {len(labels):,} labels"
    raise FolioError(
        f"no document of the train split has the label {missing[0]!r} (corpus.labels){others}; fix "
        "corpus.labels, or give more documents"
    )


def by_label(labels: np.ndarray, count: int) -> np.ndarray:
    """How many there are of each of `count` labels."""
    return np.bincount(labels[~np.isnan(labels)].astype(np.int64), minlength=count)
