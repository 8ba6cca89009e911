"""A split that works: it is tried as the corpus stage does it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.corpus.division.listing import Categories, Listing
from pipelines.corpus.division.splits import REPEATS, assign_splits
from pipelines.declaration.data_sections import TRAIN
from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.inspection.survey import Survey
from pipelines.readers.documents import NO_LABEL

SEED = 1  # the default of declarations
DEFAULT_SHARE = 0.02  # of corpus.max_quarantined
BY_HASH_FROM = 5000  # documents: with fewer, shares by hash are too far off
TRIED = ((0.1, 0.1), (0.2, 0.2), (0.3, 0.3))  # validation and test


@dataclass(frozen=True)
class Divided:
    corpus: dict[str, Any]
    why: dict[str, str]


def divided(survey: Survey, corpus: dict[str, Any], labels: list[str]) -> Divided:
    """`corpus` with a split of these documents. Raises FolioError if they are too few."""
    listing = _labelled(survey, labels) if labels else survey.listing
    method = corpus["split"]
    if method not in ("official", "contiguous"):
        method = "hash" if survey.usable >= BY_HASH_FROM else "shuffled"
    shares = TRIED if method != "contiguous" or survey.characters < 200_000 else ((0.05, 0.05),)
    failure: FolioError | None = None
    for validation, test in shares:
        found = corpus | {"split": method, "validation": validation, "test": test}
        try:
            reasons = _reasons(listing, found, labels)
        except FolioError as error:
            failure = failure or error
            continue
        if method == "official":
            found.pop("test")
        return _allowing(found, reasons, len(listing), bool(labels))
    raise failure or FolioError("the texts cannot be divided")


def _labelled(survey: Survey, labels: list[str]) -> Listing:
    """The listing with the labels' numbers; without groups, which are what the labels are read
    from."""
    listing = survey.listing
    if not listing.groups.counts():
        return listing
    numbers = {label: float(number) for number, label in enumerate(labels)}
    by_group = np.array([numbers.get(name or "", np.nan) for name in listing.groups.names])
    by_group[0] = np.nan  # no label
    values = by_group[listing.groups.codes].astype(np.float32)
    reasons = listing.reasons.copy()
    reasons.put(listing.usable() & np.isnan(values), NO_LABEL)
    nothing = Categories.none(len(listing), np.uint32)
    return replace(listing, labels=values, reasons=reasons, groups=nothing)


def _reasons(listing: Listing, corpus: dict[str, Any], labels: list[str]) -> Counter[str]:
    """Of the quarantine. Raises FolioError if train lacks a label."""
    spec = CorpusSpec.model_construct(**{"group": None, "duplicates": "count"} | corpus)
    assignment = assign_splits(listing, spec, SEED)
    found = listing.labels[assignment.fates.among(TRAIN)]
    in_train = np.unique(found[~np.isnan(found)])
    if len(in_train) < len(labels):
        raise FolioError(f"only {len(in_train)} of {len(labels)} labels are in the train split")
    return assignment.reasons


def _allowing(
    corpus: dict[str, Any], reasons: Counter[str], documents: int, labelled: bool
) -> Divided:
    """With corpus.max_quarantined where the default would stop the run."""
    counted = {why: n for why, n in reasons.items() if labelled or why not in REPEATS}
    share = sum(counted.values()) / documents
    if share <= DEFAULT_SHARE:
        return Divided(corpus, {})
    allowed = min(math.ceil(100 * share + 1) / 100, 1.0)
    listed = ", ".join(f"{why} {number:,}" for why, number in sorted(counted.items()))
    why = {"corpus.max_quarantined": f"{share:.1%} of the texts cannot be used: {listed}"}
    return Divided(corpus | {"max_quarantined": allowed}, why)
