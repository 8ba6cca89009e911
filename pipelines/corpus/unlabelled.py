"""Documents without a label, which no method divides: in a split of their own, for training."""

from __future__ import annotations

from pathlib import Path

from pipelines.corpus.near_duplicates import near_duplicates
from pipelines.corpus.splits import DUPLICATE, DUPLICATE_OF_TEST, Assignment, Listing
from pipelines.corpus.text_cache import chosen
from pipelines.declaration.data_sections import SPLITS, TEST, UNLABELLED, VALIDATION
from pipelines.errors import FolioError

NEAR_DUPLICATE_OF_HELD_OUT = "near-duplicate-of-held-out"


def set_repeats_aside(spool: Path, listing: Listing, assignment: Assignment) -> None:
    """Quarantines those that equal another document, or nearly equal one of validation or test."""
    fates = assignment.fates
    if UNLABELLED not in fates:
        raise FolioError(
            "corpus.unlabelled: the source has no documents without a label; set it to false"
        )
    seen = {
        listing.digest(index): DUPLICATE_OF_TEST if fate == TEST else DUPLICATE
        for index, fate in enumerate(fates)
        if fate in SPLITS
    }
    for index in [index for index, fate in enumerate(fates) if fate == UNLABELLED]:
        fates[index] = seen.get(listing.digest(index), UNLABELLED)
        seen.setdefault(listing.digest(index), DUPLICATE)
    held_out, others = chosen(spool, fates, (VALIDATION, TEST)), chosen(spool, fates, (UNLABELLED,))
    for pair in list(near_duplicates(held_out, others)):
        fates[pair.document] = NEAR_DUPLICATE_OF_HELD_OUT
    if UNLABELLED not in fates:
        raise FolioError(
            "corpus.unlabelled: all documents without a label repeat others; set it to false"
        )
