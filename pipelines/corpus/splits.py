"""Which document is in which split, and which ones are repeats. Pure decisions from a listing.

Every order comes from SHA-256 of the seed and a document's text or group, never from a library's
random numbers, so it is the same with every version of every library.
"""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipelines.declaration.data_sections import ALL_SPLITS, TEST, TRAIN, VALIDATION, CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.cleaning import DIGEST_BYTES

OFFICIAL_TEST = "official test"  # left out: read only so that nothing equal to it is kept
CUT = "cut"  # kept, in pieces, because a boundary between splits is in it
DUPLICATE, DUPLICATE_OF_TEST = REPEATS = ("duplicate", "duplicate-of-test")
NEAR_DUPLICATE_OF_TEST = "near-duplicate-of-test"
TESTS = {TEST: 1, OFFICIAL_TEST: 2}
CUTTABLE = ("text", "files")  # readers of running text; other documents are kept whole


@dataclass
class Listing:
    """One entry per document, in the reader's order, with everything that the splits depend on.

    About 60 bytes per document; texts and ids, which are much larger, stay on disk.
    """

    labels: list[float | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    parts: list[str | None] = field(default_factory=list)  # the split that the source defines
    reasons: list[str | None] = field(default_factory=list)  # why it is not divided
    digests: bytearray = field(default_factory=bytearray)  # DIGEST_BYTES each; zeros with a reason
    characters: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.characters)

    def add(
        self,
        characters: int,
        digest: bytes | None,
        label: float | None = None,
        group: str | None = None,
        part: str | None = None,
        reason: str | None = None,
    ) -> None:
        """`digest` is the text's (cleaning.text_digest); none for a document with a reason."""
        self.labels.append(label)
        self.groups.append(group)
        self.parts.append(part)
        self.reasons.append(reason)
        self.digests += digest or bytes(DIGEST_BYTES)
        self.characters.append(characters)

    def digest(self, index: int) -> bytes:
        return bytes(self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])

    def repeated(self) -> list[int]:
        """The usable documents that share the first half of their digest with another one."""
        halves = np.frombuffer(self.digests, np.uint64)[::2]
        ordered = np.sort(halves)
        shared = ordered[1:][ordered[1:] == ordered[:-1]]
        found = np.flatnonzero(np.isin(halves, shared)).tolist()
        return [index for index in found if self.reasons[index] is None]


@dataclass
class Assignment:
    """`fates[i]` is document i's split, the reason for its quarantine, or CUT.

    `cuts[i]` are the pieces of a CUT document: (split, first character, character after the last).
    """

    fates: list[str]
    cuts: dict[int, list[tuple[str, int, int]]] = field(default_factory=dict)

    @property
    def reasons(self) -> Counter[str]:
        """Number of quarantined documents, by reason."""
        others = (*ALL_SPLITS, CUT, OFFICIAL_TEST)
        return Counter(fate for fate in self.fates if fate not in others)


def assign_splits(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """The split of each document; repeats are quarantined.

    Raises FolioError if there are too few documents for the declared parts.
    """
    assignment = METHODS[spec.split](listing, spec, seed)
    present = {*assignment.fates, *(piece[0] for cut in assignment.cuts.values() for piece in cut)}
    for split, wanted in ((TRAIN, 1), (VALIDATION, spec.validation), (TEST, spec.test)):
        if wanted and split not in present:
            kept = len(assignment.fates) - assignment.reasons.total()
            raise FolioError(
                f"corpus.split {spec.split} leaves {split} without documents, having "
                f"{kept}; give more, or change corpus.validation and corpus.test"
            )
    return assignment


def _official(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """Test unchanged; train without repeats; validation taken from what then remains in train."""
    parts = zip(listing.reasons, listing.parts, strict=True)
    fates = [reason or part or TRAIN for reason, part in parts]
    seen = {listing.digest(i): DUPLICATE_OF_TEST for i, fate in enumerate(fates) if fate == TEST}
    train: list[int] = []
    for index in (i for i, fate in enumerate(fates) if fate == TRAIN):
        digest = listing.digest(index)
        if digest in seen:
            fates[index] = seen[digest]
        else:
            seen[digest] = DUPLICATE
            train.append(index)
    wanted = _wanted(spec.validation, len(train), "corpus.validation")
    for index in carve(train, listing, wanted, seed):
        fates[index] = VALIDATION
    return Assignment(fates)


def _by_hash(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """By the hash of each text (or group): adding or removing documents moves no other."""
    return _hashed(listing, spec, seed, [reason or TRAIN for reason in listing.reasons])


def _within_train(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """The official train part by hash, as if there were no other."""
    parts = zip(listing.reasons, listing.parts, strict=True)
    fates = [reason or (OFFICIAL_TEST if part == TEST else TRAIN) for reason, part in parts]
    return _hashed(listing, spec, seed, fates)


def _hashed(listing: Listing, spec: CorpusSpec, seed: int, fates: list[str]) -> Assignment:
    """`fates` with the documents in TRAIN divided."""
    total = fates.count(TRAIN)
    test, validation = _share(spec.test, total), _share(spec.validation, total)
    if test + validation >= 1:
        raise _nothing_left(spec, f"{total} documents")
    for index in (index for index, fate in enumerate(fates) if fate == TRAIN):
        group = listing.groups[index]
        point = _point(seed, group.encode() if group else listing.digest(index))
        if point < test + validation:
            fates[index] = TEST if point < test else VALIDATION
    _set_repeats_aside(listing, fates)
    return Assignment(fates)


def _shuffled(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """Remove repeats; of the shuffled rest the first are test, the next validation."""
    fates = [reason or TRAIN for reason in listing.reasons]
    _set_repeats_aside(listing, fates)
    rest = [index for index, fate in enumerate(fates) if fate == TRAIN]
    test = _wanted(spec.test, len(rest), "corpus.test")
    validation = _wanted(spec.validation, len(rest), "corpus.validation")
    if test + validation >= len(rest):
        raise _nothing_left(spec, f"{len(rest)} documents")
    for split, wanted in ((TEST, test), (VALIDATION, validation)):
        for index in carve(rest, listing, wanted, seed, balanced=False):
            fates[index] = split
        rest = [index for index in rest if fates[index] == TRAIN]
    return Assignment(fates)


def _contiguous(listing: Listing, spec: CorpusSpec, seed: int) -> Assignment:
    """The running text: first train, then validation, then test, cut by characters."""
    assignment = Assignment([reason or TRAIN for reason in listing.reasons])
    _set_repeats_aside(listing, assignment.fates)
    kept = [index for index, fate in enumerate(assignment.fates) if fate == TRAIN]
    total = sum(listing.characters[index] for index in kept)
    validation = _wanted(spec.validation, total, "corpus.validation", "characters")
    test = _wanted(spec.test, total, "corpus.test", "characters")
    if validation + test >= total:
        raise _nothing_left(spec, f"{total} characters")
    bounds = (total - test - validation, total - test)  # where validation and test start
    at = 0
    for index in kept:
        length = listing.characters[index]
        if spec.reader in CUTTABLE:
            pieces = list(_pieces((bounds[0] - at, bounds[1] - at), length))
        else:  # position of its middle
            pieces = [(ALL_SPLITS[bisect_right(bounds, at + length // 2)], 0, length)]
        assignment.fates[index] = pieces[0][0] if len(pieces) == 1 else CUT
        if len(pieces) > 1:
            assignment.cuts[index] = pieces
        at += length
    return assignment


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


def _set_repeats_aside(listing: Listing, fates: list[str]) -> None:
    """Of equal texts one is kept: the first in the official test part, else the first in test, else
    the first. The official test part stays as it is."""
    stays: dict[bytes, int] = {}
    repeated = listing.repeated()
    for index in repeated:
        first = stays.setdefault(listing.digest(index), index)
        if TESTS.get(fates[index], 0) > TESTS.get(fates[first], 0):
            stays[listing.digest(index)] = index
    for index in repeated:
        stay = stays[listing.digest(index)]
        if stay != index and fates[index] != OFFICIAL_TEST:
            leaks = TESTS.get(fates[stay], 0) > TESTS.get(fates[index], 0)
            fates[index] = DUPLICATE_OF_TEST if leaks else DUPLICATE


def carve(
    pool: Sequence[int], listing: Listing, wanted: int, seed: int, balanced: bool = True
) -> list[int]:
    """About `wanted` documents of `pool`, no two equal: whole groups, shuffled by the seed.

    A group that would exceed `wanted` is skipped and the next one tried, so the number is met as
    closely as the groups allow; `balanced` keeps the pool's proportion of labels in the same way.
    """
    members: dict[bytes, list[int]] = {}
    for index in pool:
        group = listing.groups[index]
        name = listing.digest(index) if group is None else b"group " + group.encode()
        members.setdefault(name, []).append(index)
    order = sorted(members, key=lambda name: _rank(seed, name))
    quota = {
        label: wanted * number / len(pool) + 1
        for label, number in Counter(listing.labels[index] for index in pool).items()
    }
    have: Counter[float | None] = Counter()
    taken: list[int] = []
    for careful in (True, False) if balanced else (False,):
        for name in order:
            if len(taken) == wanted:
                return taken
            if not 0 < len(members.get(name, ())) <= wanted - len(taken):
                continue
            own = Counter(listing.labels[index] for index in members[name]) if careful else {}
            if all(have[label] + own[label] <= quota[label] for label in own):
                taken += members.pop(name)
                have.update(own)
    return taken + _nearest(list(members.values()), wanted - len(taken))


def _nearest(groups: list[list[int]], missing: int) -> list[int]:
    """The smallest remaining group, if adding it brings the number closer to the wanted one."""
    smallest = min(groups, key=len, default=[])
    return smallest if len(smallest) < 2 * missing else []


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


def _rank(seed: int, key: bytes) -> bytes:
    return hashlib.sha256(b"%d:%b" % (seed, key)).digest()


def _point(seed: int, key: bytes) -> float:
    """A number in [0, 1) that depends only on the seed and the key."""
    return int.from_bytes(_rank(seed, key)[:6]) / 2**48


METHODS: dict[str, Callable[[Listing, CorpusSpec, int], Assignment]] = {
    "official": _official,
    "within-train": _within_train,
    "hash": _by_hash,
    "shuffled": _shuffled,
    "contiguous": _contiguous,
}
