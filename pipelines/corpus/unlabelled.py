"""Documents without a label, which no method divides: in a split of their own, for training."""

from __future__ import annotations

from pipelines.corpus.comparing import near_duplicates
from pipelines.corpus.splits import DUPLICATE, DUPLICATE_OF_TEST, Assignment, Listing
from pipelines.corpus.text_cache import Texts
from pipelines.declaration.data_sections import SPLITS, TEST, UNLABELLED, VALIDATION
from pipelines.errors import FolioError
from pipelines.store.artifacts import Workspace

NEAR_DUPLICATE_OF_HELD_OUT = "near-duplicate-of-held-out"


def set_repeats_aside(
    texts: Texts, listing: Listing, assignment: Assignment, work: Workspace
) -> None:
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
    held_out, others = (VALIDATION, TEST), (UNLABELLED,)
    for pair in near_duplicates(texts, listing.characters, fates, held_out, others, work):
        fates[pair.document] = NEAR_DUPLICATE_OF_HELD_OUT
    if UNLABELLED not in fates:
        raise FolioError(
            "corpus.unlabelled: all documents without a label repeat others; set it to false"
        )
