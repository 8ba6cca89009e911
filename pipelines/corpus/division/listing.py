"""What the splits depend on, in columns: 34 bytes a document, however long its text is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.readers.cleaning import DIGEST_BYTES

BLOCK = 2**18  # documents that Python looks at one by one at a time
LISTING = pl.Schema(
    {
        "characters": pl.Int64,
        "digest_begin": pl.UInt64,
        "digest_end": pl.UInt64,
        "label": pl.Float32,
        "group": pl.String,
        "part": pl.String,
        "reason": pl.String,
    }
)


class Categories:
    """A column of names of which there are few: `codes` has each document's, 0 for none."""

    def __init__(self, codes: np.ndarray) -> None:
        self.codes = codes
        self.names: list[str | None] = [None]
        self._numbers: dict[str | None, int] = {None: 0}

    @classmethod
    def none(cls, documents: int, kind: type = np.uint8) -> Categories:
        return cls(np.zeros(documents, kind))

    def copy(self) -> Categories:
        found = Categories(self.codes.copy())
        found.names, found._numbers = self.names.copy(), self._numbers.copy()
        return found

    def code(self, name: str | None) -> int:
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number

    def fill(self, first: int, values: pa.Array) -> None:
        """The names (strings) of the documents from number `first` on."""
        found = values.dictionary_encode()
        codes = np.array([*map(self.code, found.dictionary.to_pylist()), 0], self.codes.dtype)
        numbers = found.indices.fill_null(len(codes) - 1).to_numpy(zero_copy_only=False)
        self.codes[first : first + len(values)] = codes[numbers]

    def put(self, which: np.ndarray, name: str | None) -> None:
        """Gives documents, by number or by mask, this name."""
        self.codes[which] = self.code(name)

    def among(self, *names: str | None) -> np.ndarray:
        """A mask of the documents with one of these names."""
        wanted = np.zeros(len(self.names), bool)
        wanted[[number for name in names if (number := self._numbers.get(name)) is not None]] = True
        return wanted[self.codes]

    def where(self, *names: str | None) -> np.ndarray:
        """The numbers of these documents."""
        return np.flatnonzero(self.among(*names))

    def counts(self) -> Counter[str]:
        """How many documents have each name."""
        found = np.bincount(self.codes, minlength=len(self.names)).tolist()
        named = zip(self.names, found, strict=True)
        return Counter({name: number for name, number in named if number and name is not None})

    def arrow(self, first: int = 0, stop: int | None = None) -> pa.Array:
        """The names as strings, null for none."""
        codes = self.codes[first:stop]
        there, numbers = np.unique(codes, return_inverse=True)
        return pa.array([self.names[code] for code in there], pa.string()).take(pa.array(numbers))

    def values(self) -> list[str | None]:
        """The names as Python's objects: for few documents."""
        return self.arrow().to_pylist()

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, document: int) -> str | None:
        return self.names[self.codes[document]]

    def __contains__(self, name: str) -> bool:
        return bool(self.among(name).any())


@dataclass
class Listing:
    """Columns, in the reader's order."""

    characters: np.ndarray  # int64
    digests: np.ndarray  # uint64 (documents, 2), see cleaning.text_digest; zeros with a reason
    labels: np.ndarray  # float32, NaN for none
    groups: Categories
    parts: Categories  # the split that the source defines
    reasons: Categories  # why it is not divided

    @classmethod
    def of_size(cls, documents: int) -> Listing:
        """To be filled."""
        return cls(
            np.zeros(documents, np.int64),
            np.zeros((documents, 2), np.uint64),
            np.full(documents, np.nan, np.float32),
            Categories.none(documents, np.uint32),
            Categories.none(documents),
            Categories.none(documents),
        )

    def __len__(self) -> int:
        return len(self.characters)

    def fill(self, first: int, frame: pl.DataFrame) -> None:
        """Enters LISTING of the documents from number `first` on."""
        stop = first + len(frame)
        self.characters[first:stop] = frame["characters"].to_numpy()
        self.digests[first:stop] = frame.select("digest_begin", "digest_end").to_numpy()
        self.labels[first:stop] = frame["label"].to_numpy()
        self.groups.fill(first, frame["group"].to_arrow())
        self.parts.fill(first, frame["part"].to_arrow())
        self.reasons.fill(first, frame["reason"].to_arrow())

    def usable(self) -> np.ndarray:
        """A mask of the documents without a reason."""
        return self.reasons.codes == 0

    def digests_of(self, documents: np.ndarray) -> Iterator[bytes]:
        for at in range(0, len(documents), BLOCK):
            found = self.digests[documents[at : at + BLOCK]].tobytes()
            for start in range(0, len(found), DIGEST_BYTES):
                yield found[start : start + DIGEST_BYTES]

    def repeated(self, among: np.ndarray | None = None) -> np.ndarray:
        """The numbers of the documents of a mask (the usable ones) that share the first half of
        their digest with another one of it."""
        chosen = np.flatnonzero(self.usable() if among is None else among)
        return chosen[shared(self.digests[chosen, 0])]


def shared(numbers: np.ndarray) -> np.ndarray:
    """Where numbers are that occur more than once."""
    ordered = np.sort(numbers)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return np.empty(0, np.int64)
    at = np.minimum(np.searchsorted(twice, numbers), len(twice) - 1)
    return np.flatnonzero(twice[at] == numbers)


@dataclass
class Entries:
    """A listing that is written document by document."""

    characters: list[int] = field(default_factory=list)
    digests: bytearray = field(default_factory=bytearray)
    labels: list[float | None] = field(default_factory=list)
    groups: list[str | None] = field(default_factory=list)
    parts: list[str | None] = field(default_factory=list)
    reasons: list[str | None] = field(default_factory=list)

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
        self.characters.append(characters)
        self.digests += digest or bytes(DIGEST_BYTES)
        self.labels.append(label)
        self.groups.append(group)
        self.parts.append(part)
        self.reasons.append(reason)

    def frame(self) -> pl.DataFrame:
        """LISTING."""
        digests = np.frombuffer(self.digests, np.uint64).reshape(-1, 2)
        columns = {
            "characters": np.array(self.characters, np.int64),
            "digest_begin": digests[:, 0],
            "digest_end": digests[:, 1],
            "label": self.labels,
            "group": self.groups,
            "part": self.parts,
            "reason": self.reasons,
        }
        return pl.DataFrame(columns, schema=LISTING)

    def listing(self) -> Listing:
        found = Listing.of_size(len(self))
        found.fill(0, self.frame())
        return found
