"""Compares the documents of some splits with those of others, in steps.

The sketches of the test documents are made piece by piece and joined into one index, with which
each piece of the others is then compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.corpus.division.listing import Categories
from pipelines.corpus.near_duplicates import Index, Pair, joined
from pipelines.corpus.sketches import Sketches, in_characters, sketched
from pipelines.corpus.text_cache import Piece, Texts, edges_of
from pipelines.steps.step import Step
from pipelines.store.artifacts import Workspace

TESTED, OTHER = 1, 2  # the roles of documents; 0: not compared


def near_duplicates(
    texts: Texts,
    characters: np.ndarray,
    fates: Categories,
    test: Collection[str],
    others: Collection[str],
    work: Workspace,
) -> list[Pair]:
    """The documents with a fate in `others` that are similar to one with a fate in `test`, in their
    order. `characters` are the lengths of all texts."""
    name = "-".join(sorted(others))
    roles = np.where(fates.among(*test), TESTED, fates.among(*others) * OTHER).astype(np.uint8)
    tested = np.flatnonzero(roles == TESTED)
    if not len(tested):
        return []
    partial = work.scratch / f".{name}.npy"  # a step of a run that died may still map the other
    np.save(partial, roles)
    partial.replace(work.scratch / f"{name}.npy")
    how = {"name": name, "characters": _by_characters(texts, characters, roles)}

    def steps(kind: str, function: Any, role: int) -> list[Step]:
        chosen = [one for one in texts.pieces if (roles[one.first : one.stop] == role).any()]
        return [
            Step(f"{kind}-{name}-{Path(one.file).stem}", function, {"piece": one} | how)
            for one in chosen
        ]

    def run(steps: list[Step], unit: str) -> list[str]:
        done = work.steps.run(work.scratch, steps, work.progress, unit)
        return [file for one in done for file in one.files]

    sketches = run(steps("sketch", sketch, TESTED), "parts of test sketched")
    run([Step(f"index-{name}", index, {"name": name, "files": sketches})], "indices of test made")
    found = run(steps("compare", compare, OTHER), "parts compared with test")
    return [pair for file in found for pair in _pairs(work.scratch / file)]


def _by_characters(texts: Texts, characters: np.ndarray, roles: np.ndarray) -> bool:
    """Whether sequences of characters are compared, not of words: the first batch with a test
    document decides."""
    edges = edges_of(characters)
    first = int(np.flatnonzero(roles == TESTED)[0])
    at = int(np.searchsorted(edges, first, side="right")) - 1
    found = list(_chosen(texts, roles, TESTED, int(edges[at]), int(edges[at + 1])))
    return in_characters(pa.chunked_array([some for _, some in found]))


def _chosen(
    texts: Texts, roles: np.ndarray, role: int, first: int = 0, stop: int | None = None
) -> Iterator[tuple[np.ndarray, pa.Array]]:
    """Numbers and texts of the documents with a role, in batches."""
    for at, batch in texts.numbered(["text"], first, stop):
        wanted = roles[at : at + batch.num_rows] == role
        if wanted.any():
            yield at + np.flatnonzero(wanted), batch["text"].filter(pa.array(wanted))


def sketch(place: Path, out: Path, piece: Piece, name: str, characters: bool) -> dict[str, Any]:
    """Writes sketches/<name>-<piece>.npz: the test documents of a piece."""
    roles = np.load(place / f"{name}.npy", mmap_mode="r")
    numbers, sketches = [], []
    for some, found in _chosen(Texts(place, [piece]), roles, TESTED):
        numbers.append(some)
        sketches.append(sketched(found, characters))
    whole = joined(sketches)
    (out / "sketches").mkdir()
    path = out / "sketches" / f"{name}-{Path(piece.file).stem}.npz"
    np.savez(path, numbers=np.concatenate(numbers), hashes=whole.hashes, edges=whole.edges)
    return {}


def index(place: Path, out: Path, name: str, files: list[str]) -> dict[str, Any]:
    """Writes index-<name>/: all test documents."""
    numbers, sketches = [], []
    for file in files:
        with np.load(place / file) as found:
            numbers.append(found["numbers"])
            sketches.append(Sketches(found["hashes"], found["edges"]))
    (out / f"index-{name}").mkdir()
    Index.of(numbers, sketches).save(out / f"index-{name}")
    return {}


def compare(place: Path, out: Path, piece: Piece, name: str, characters: bool) -> dict[str, Any]:
    """Writes pairs/<name>-<piece>.npz: which of a piece's other documents are similar to which of
    test."""
    roles, found = np.load(place / f"{name}.npy", mmap_mode="r"), _index(place / f"index-{name}")
    pairs = [
        found.pairs(numbers, texts, characters)
        for numbers, texts in _chosen(Texts(place, [piece]), roles, OTHER)
    ]
    documents, tests, similarities = map(np.concatenate, zip(*pairs, strict=True))
    (out / "pairs").mkdir()
    path = out / "pairs" / f"{name}-{Path(piece.file).stem}.npz"
    np.savez(path, documents=documents, tests=tests, similarities=similarities)
    return {}


@lru_cache(1)
def _index(folder: Path) -> Index:
    return Index.load(folder)


def _pairs(path: Path) -> Iterator[Pair]:
    with np.load(path) as found:
        fields = [found[name].tolist() for name in ("documents", "tests", "similarities")]
    yield from map(Pair, *fields)
