"""Takes documents by the seed: whole groups in an order of hashes, or all below a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from pipelines.corpus.division.listing import BLOCK, Listing

POINT_BYTES, RANK_BYTES = 6, 8


def hashed(pool: np.ndarray, listing: Listing, seed: int) -> np.ndarray:
    """A number in [0, 1) for each document of `pool`, which depends only on the seed and on its
    group or, without one, on its text."""
    names = [name.encode() if name else None for name in listing.groups.names]
    return _ranks(pool, listing, seed, names, POINT_BYTES) / 2.0 ** (8 * POINT_BYTES)


def carve(
    pool: np.ndarray, listing: Listing, wanted: int, seed: int, balanced: bool = True
) -> np.ndarray:
    """About `wanted` documents of `pool`, no two of which are equal: whole groups, shuffled by the
    seed.

    A group that would exceed `wanted` is skipped and the next one tried, so the number is met as
    closely as the groups allow; `balanced` keeps the pool's proportion of labels in the same way.
    """
    groups = _Groups(pool, listing, seed)
    if balanced:
        groups.take(wanted, wanted * groups.by_label / max(len(pool), 1) + 1)
    groups.take(wanted)
    groups.take_nearest(wanted)
    return pool[groups.order[np.repeat(groups.taken, groups.sizes)]]


class _Groups:
    """The groups of a pool, a document without one alone, in the order of their hashes: group i is
    `order[edges[i]:edges[i + 1]]`, positions in the pool."""

    def __init__(self, pool: np.ndarray, listing: Listing, seed: int) -> None:
        names = [None if one is None else b"group " + one.encode() for one in listing.groups.names]
        ranks = _ranks(pool, listing, seed, names, RANK_BYTES)
        kind = np.int32 if len(pool) < 2**31 else np.int64  # of a hundred million, memory counts
        self.order = np.argsort(ranks, kind="stable").astype(kind)
        ranks = ranks[self.order]
        new = np.ones(len(ranks), bool)
        new[1:] = ranks[1:] != ranks[:-1]
        del ranks
        self.edges = np.append(np.flatnonzero(new).astype(kind), kind(len(new)))
        self.sizes = np.diff(self.edges)
        self.taken = np.zeros(len(self.sizes), bool)
        self.total = 0
        self._pool, self._listing = pool, listing

    @cached_property
    def labels(self) -> np.ndarray:
        """The number of each document's label, in the groups' order."""
        labels = self._listing.labels[self._pool]
        return np.searchsorted(np.unique(labels), labels).astype(np.int32)[self.order]

    @cached_property
    def by_label(self) -> np.ndarray:
        """How many documents have each."""
        return np.bincount(self.labels)

    def take(self, wanted: int, quota: np.ndarray | None = None) -> None:
        """Those that fit, until there are `wanted` documents; with at most `quota` of each label,
        of those that are taken in this call."""
        have = np.zeros(0 if quota is None else len(quota), np.int64)
        for first in range(0, len(self.sizes), BLOCK):
            for group, size in enumerate(self.sizes[first : first + BLOCK].tolist(), first):
                if self.total == wanted:
                    return
                if self.taken[group] or size > wanted - self.total:
                    continue
                if quota is not None:
                    own = self._labels_of(group)
                    if ((have + own > quota) & (own > 0)).any():
                        continue
                    have += own
                self.taken[group] = True
                self.total += size

    def take_nearest(self, wanted: int) -> None:
        """The smallest remaining one, if it brings the number closer to the wanted one."""
        left = np.flatnonzero(~self.taken)
        smallest = left[self.sizes[left] == self.sizes[left].min(initial=len(self.order) + 1)]
        if len(smallest) and self.sizes[smallest[0]] < 2 * (wanted - self.total):
            first = self.order[self.edges[smallest]]  # in the pool's order
            self.taken[smallest[np.argmin(first)]] = True

    def _labels_of(self, group: int) -> np.ndarray:
        labels = self.labels[self.edges[group] : self.edges[group + 1]]
        return np.bincount(labels, minlength=len(self.by_label))


def _ranks(
    pool: np.ndarray, listing: Listing, seed: int, names: Sequence[bytes | None], size: int
) -> np.ndarray:
    """The hash of each document's group, of so many bytes; without a name for it, of its text's
    digest."""
    of_groups = np.array([0 if one is None else _rank(seed, one, size) for one in names], np.uint64)
    codes = listing.groups.codes[pool]
    found = of_groups[codes]
    alone = np.array([one is None for one in names])[codes]
    digests = listing.digests_of(pool[alone])
    hashes = (_rank(seed, digest, size) for digest in digests)
    found[alone] = np.fromiter(hashes, np.uint64, int(alone.sum()))
    return found


def _rank(seed: int, key: bytes, size: int) -> int:
    return int.from_bytes(hashlib.sha256(b"%d:%b" % (seed, key)).digest()[:size])
