"""Documents without a label, which no method divides: in a split of their own, for training."""

from __future__ import annotations

import numpy as np

from pipelines.corpus.comparing import near_duplicates
from pipelines.corpus.division.listing import Listing
from pipelines.corpus.division.splits import Assignment
from pipelines.corpus.division.splits import set_repeats_aside as set_equal_aside
from pipelines.corpus.text_cache import Texts
from pipelines.declaration.data_sections import SPLITS, TEST, TRAIN, UNLABELLED, VALIDATION
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
    chosen = fates.among(*SPLITS, UNLABELLED)
    first = {TEST: 2, VALIDATION: 1, TRAIN: 1}
    set_equal_aside(listing, fates, kept=SPLITS, among=chosen, first=first)
    held_out, others = (VALIDATION, TEST), (UNLABELLED,)
    pairs = near_duplicates(texts, listing.characters, fates, held_out, others, work)
    fates.put(np.array([pair.document for pair in pairs], np.int64), NEAR_DUPLICATE_OF_HELD_OUT)
    if UNLABELLED not in fates:
        raise FolioError(
            "corpus.unlabelled: all documents without a label repeat others; set it to false"
        )
