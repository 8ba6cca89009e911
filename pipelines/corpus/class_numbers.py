"""Which classes there are to learn, and their numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pipelines.corpus.splits import TRAIN, Assignment, Listing
from pipelines.declaration.data_sections import SPLITS, CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.documents import Notes
from pipelines.readers.labels import in_order

NOT_IN_TRAIN = "label-not-in-train"


def check_occurrences(
    listing: Listing, names: Iterable[str], spec: CorpusSpec, notes: Notes
) -> None:
    """Raises FolioError for a label that occurs once: it can be learned or measured, not both.
    `names` are the documents'. Two declared labels are as they are."""
    labels = spec.labels or notes.labels.names
    if not spec.labelled or (spec.labels and len(labels) == 2):
        return
    usable = zip(listing.labels, listing.reasons, strict=True)
    found = Counter(label for label, reason in usable if reason is None and label is not None)
    once = {label for label, number in found.items() if number == 1}
    if not once:
        return
    for name, label, reason in zip(names, listing.labels, listing.reasons, strict=True):
        if label in once and reason is None:
            more = f" (as {len(once) - 1:,} more labels do)" if len(once) > 1 else ""
            raise FolioError(
                f"{name}: the label {labels[int(label)]!r} occurs only here{more}, so it cannot be "
                "both learned and tested; fix it, give more documents, or list in corpus.labels "
                "only those to learn"
            )


def renumbered(
    listing: Listing, assignment: Assignment, spec: CorpusSpec, notes: Notes
) -> list[str]:
    """The labels in the order of their numbers. If none are declared they are those of train, in
    sorted order; documents with others are quarantined."""
    if spec.labels or not spec.labelled:
        return list(spec.labels or ())
    fates, names = assignment.fates, notes.labels.names
    fated = zip(listing.labels, fates, strict=True)
    found = {label for label, fate in fated if fate == TRAIN and label is not None}
    chosen = in_order([names[int(label)] for label in found])
    numbers = {float(names.index(name)): float(number) for number, name in enumerate(chosen)}
    for index, label in enumerate(listing.labels):
        if label is not None:
            listing.labels[index] = numbers.get(label)
            if label not in numbers and fates[index] in SPLITS:
                fates[index] = NOT_IN_TRAIN
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
    fates = zip(listing.labels, assignment.fates, strict=True)
    found = Counter(label for label, fate in fates if fate == TRAIN)
    missing = [label for value, label in enumerate(labels) if not found[float(value)]]
    if not missing:
        return
    others = ""
    if len(labels) == 2:
        there = 1 - labels.index(missing[0])
        others = f", {found[float(there)]:,} have {labels[there]!r}"
    elif len(missing) > 1:
        others = f", nor {len(missing) - 1:,} more of the {len(labels):,} labels"
    raise FolioError(
        f"no document of the train split has the label {missing[0]!r} (corpus.labels){others}; fix "
        "corpus.labels, or give more documents"
    )
