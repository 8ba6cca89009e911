"""Which document is in which split, and which ones are repeats. Pure decisions from a listing.

Every order comes from SHA-256 of the seed and a document's text or group, never from a library's
random numbers, so it is the same with every version of every library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from pipelines.corpus.division.carving import carve, hashed
from pipelines.corpus.division.listing import Categories, Listing
from pipelines.declaration.data_sections import (
    ALL_SPLITS,
    TEST,
    TRAIN,
    VALIDATION,
    WITHIN_TRAIN,
    CorpusSpec,
)
from pipelines.errors import FolioError

OFFICIAL_TEST = "official test"  # left out: read only so that nothing equal to it is kept
CUT = "cut"  # kept, in pieces, because a boundary between splits is in it
DUPLICATE, DUPLICATE_OF_TEST = REPEATS = ("duplicate", "duplicate-of-test")
NEAR_DUPLICATE_OF_TEST = "near-duplicate-of-test"
TESTS = {TEST: 1, OFFICIAL_TEST: 2}
CUTTABLE = ("text", "files")  # readers of running text; other documents are kept whole


@dataclass
class Assignment:
    """`fates` has each document's split, the reason for its quarantine, or CUT.

    `cuts[i]` are the pieces of a CUT document: (split, first character, character after the last).
    """

    fates: Categories
    cuts: dict[int, list[tuple[str, int, int]]] = field(default_factory=dict)

    @property
    def reasons(self) -> Counter[str]:
        """Number of quarantined documents, by reason."""
        found = self.fates.counts()
        for kept in (*ALL_SPLITS, CUT, OFFICIAL_TEST):
            del found[kept]
        return found


def undivided(listing: Listing) -> Assignment:
    """Every document in train, but for those with a reason."""
    fates = Categories.none(len(listing))
    fates.put(listing.usable(), TRAIN)
    for reason in listing.reasons.names[1:]:
        fates.put(listing.reasons.among(reason), reason)
    return Assignment(fates)


def assign_splits(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """The split of each document; repeats are quarantined.

    Raises FolioError if there are too few documents for the declared parts.
    """
    assignment = METHODS[spec.split](listing, spec, seed)
    present = {*assignment.fates.counts()}
    present |= {piece[0] for cut in assignment.cuts.values() for piece in cut}
    for split, wanted in ((TRAIN, 1), (VALIDATION, spec.validation), (TEST, spec.test)):
        if wanted and split not in present:
            kept = len(listing) - assignment.reasons.total()
            raise FolioError(
                f"corpus.split {spec.split} leaves {split} without documents, having "
                f"{kept}; give more, or change corpus.validation and corpus.test"
            )
    return assignment


def _official(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """Test unchanged; train without repeats; validation taken from what then remains in train."""
    assignment = undivided(listing)
    fates = assignment.fates
    for part in listing.parts.names[1:]:
        fates.put(listing.parts.among(part) & listing.usable(), part)
    set_repeats_aside(listing, fates, kept=(TEST,))
    train = fates.where(TRAIN)
    wanted = _wanted(spec.validation, len(train), "corpus.validation")
    fates.put(carve(train, listing, wanted, seed), VALIDATION)
    return assignment


def _by_hash(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """By the hash of each text (or group): adding or removing documents moves no other."""
    return _hashed(listing, spec, seed, undivided(listing))


def _within_train(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """The official train part by hash, as if there were no other; which folders it has is decided
    by the reader."""
    assignment = undivided(listing)
    assignment.fates.put(listing.parts.among(TEST) & listing.usable(), OFFICIAL_TEST)
    return _hashed(listing, spec, seed, assignment)


def _hashed(listing: Listing, spec: CorpusSpec, seed: int, assignment: Assignment) -> Assignment:
    """The documents in TRAIN divided."""
    fates = assignment.fates
    train = fates.where(TRAIN)
    test, validation = _share(spec.test, len(train)), _share(spec.validation, len(train))
    if test + validation >= 1:
        raise _nothing_left(spec, f"{len(train)} documents")
    points = hashed(train, listing, seed)
    fates.put(train[points < test + validation], VALIDATION)
    fates.put(train[points < test], TEST)
    set_repeats_aside(listing, fates)
    return assignment


def _shuffled(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """Remove repeats; of the shuffled rest the first are test, the next validation."""
    assignment = undivided(listing)
    fates = assignment.fates
    set_repeats_aside(listing, fates)
    rest = fates.where(TRAIN)
    test = _wanted(spec.test, len(rest), "corpus.test")
    validation = _wanted(spec.validation, len(rest), "corpus.validation")
    if test + validation >= len(rest):
        raise _nothing_left(spec, f"{len(rest)} documents")
    for split, wanted in ((TEST, test), (VALIDATION, validation)):
        rest = fates.where(TRAIN)
        fates.put(carve(rest, listing, wanted, seed, balanced=False), split)
    return assignment


def _contiguous(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """The running text: first train, then validation, then test, cut by characters."""
    assignment = undivided(listing)
    fates = assignment.fates
    set_repeats_aside(listing, fates)
    kept = fates.where(TRAIN)
    lengths = listing.characters[kept]
    total = int(lengths.sum())
    validation = _wanted(spec.validation, total, "corpus.validation", "characters")
    test = _wanted(spec.test, total, "corpus.test", "characters")
    if validation + test >= total:
        raise _nothing_left(spec, f"{total} characters")
    bounds = (total - test - validation, total - test)  # where validation and test start
    starts = np.cumsum(lengths) - lengths
    if spec.reader not in CUTTABLE:  # position of its middle
        _put_parts(fates, kept, np.searchsorted(bounds, starts + lengths // 2, side="right"))
        return assignment
    first, last = (np.searchsorted(bounds, at, "right") for at in (starts, starts + lengths - 1))
    _put_parts(fates, kept, first)
    for at in np.flatnonzero(first != last).tolist():
        start, document = int(starts[at]), int(kept[at])
        assignment.cuts[document] = list(
            _pieces((bounds[0] - start, bounds[1] - start), int(lengths[at]))
        )
    fates.put(kept[first != last], CUT)
    return assignment


def _put_parts(fates: Categories, documents: np.ndarray, parts: np.ndarray) -> None:
    for number, split in enumerate((TRAIN, VALIDATION, TEST)):
        fates.put(documents[parts == number], split)


def _pieces(bounds: tuple[int, int], length: int) -> Iterator[tuple[str, int, int]]:
    """(split, start, stop) if validation and test start at `bounds`, which may lie outside."""
    validation, test = (min(max(bound, 0), length) for bound in bounds)
    for split, start, stop in (
        (TRAIN, 0, validation),
        (VALIDATION, validation, test),
        (TEST, test, length),
    ):
        if start < stop:
            yield split, start, stop


def set_repeats_aside(
    listing: Listing,
    fates: Categories,
    kept: Collection[str] = (OFFICIAL_TEST,),
    among: np.ndarray | None = None,
    first: Mapping[str, int] = TESTS,
) -> None:
    """Of equal texts `among` a mask (the usable documents) one stays: the first of those whose fate
    is highest in `first`. Documents with a fate in `kept` stay as they are."""
    repeated = listing.repeated(among)
    ranks, tests = _ranks(fates, repeated, first), _ranks(fates, repeated, TESTS)
    begins, ends = listing.digests[repeated].T
    order = np.lexsort((repeated, -ranks, ends, begins))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(begins[order]) != 0) | (np.diff(ends[order]) != 0)
    stay = order[new][np.cumsum(new) - 1]  # beside each of `order`, that which stays
    goes = ~new & ~fates.among(*kept)[repeated[order]]
    leaks = tests[stay] > tests[order]
    fates.put(repeated[order[goes & leaks]], DUPLICATE_OF_TEST)
    fates.put(repeated[order[goes & ~leaks]], DUPLICATE)


def _ranks(fates: Categories, documents: np.ndarray, ranks: Mapping[str, int]) -> np.ndarray:
    by_code = np.array([ranks.get(name or "", 0) for name in fates.names], np.int8)
    return by_code[fates.codes[documents]]


def _wanted(value: float, total: int, key: str, unit: str = "documents") -> int:
    """A count (>= 1) as it is, a share (< 1) as a count."""
    count = int(value) if value >= 1 else round(value * total)
    if value and not 0 < count < total:
        raise FolioError(
            f"{key} {value}: cannot be taken from {total} {unit}; give more, or change {key}"
        )
    return count


def _share(value: float, total: int) -> float:
    return value / max(total, 1) if value >= 1 else value


def _nothing_left(spec: CorpusSpec, what: str) -> FolioError:
    return FolioError(
        f"corpus.test {spec.test} and corpus.validation {spec.validation} leave nothing "
        f"of {what} for training; reduce them"
    )


METHODS: dict[str, Callable[[Listing, CorpusSpec, int], Assignment]] = {
    "official": _official,
    **dict.fromkeys(WITHIN_TRAIN, _within_train),
    "hash": _by_hash,
    "shuffled": _shuffled,
    "contiguous": _contiguous,
}
