"""Which test documents a model has seen before, in the training or validation text of its corpus.

When data or split change, the old champion may have been trained on documents that are now held
out. Its figures on these are meaningless, so they are left out of the comparison with a newer
model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from pipelines.declaration.data_sections import LEARNED_FROM
from pipelines.metrics.passage_hashes import code_points, passage_hashes
from pipelines.metrics.segments import cuts
from pipelines.readers.cleaning import text_digest

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

WINDOW = 50  # characters of a segment to search for anywhere in the earlier text


def seen_documents(texts: Sequence[str], corpus: Artifact) -> np.ndarray:
    """(documents,) bool: the same text, except for white space, is in train or validation of the
    corpus artifact."""
    wanted = [text_digest(text) for text in texts]
    sought, met = set(wanted), set()
    for text in _texts(corpus):
        digest = text_digest(text)
        if digest in sought:
            met.add(digest)
    return np.array([digest in met for digest in wanted], bool)


def seen_segments(texts: Sequence[str], corpus: Artifact) -> np.ndarray:
    """(segments of all texts,) bool: the whole document is there, or the segment's beginning is in
    any document."""
    documents = seen_documents(texts, corpus)
    sizes = [len(list(cuts(text))) - 1 for text in texts]
    beginnings = [
        text[a : a + WINDOW] if b - a >= WINDOW else ""
        for text in texts
        for a, b in pairwise(cuts(text))
    ]
    nothing = np.zeros(1, np.uint64)
    hashes = np.concatenate([_hashes(text) if text else nothing for text in beginnings])
    sought = np.unique(hashes)
    met = [np.empty(0, np.uint64)]
    for text in _texts(corpus):
        for _, found in passage_hashes(code_points(text), WINDOW):
            places = np.minimum(np.searchsorted(sought, found), len(sought) - 1)
            met.append(np.unique(found[sought[places] == found]))
    whole = np.array([bool(text) for text in beginnings], bool)
    return np.repeat(documents, sizes) | (whole & np.isin(hashes, np.concatenate(met)))


def _hashes(text: str) -> np.ndarray:
    return np.concatenate([found for _, found in passage_hashes(code_points(text), WINDOW)])


def _texts(corpus: Artifact) -> Iterator[str]:
    for split in LEARNED_FROM:
        for shard in corpus.files(f"documents/{split}-"):
            yield from pq.read_table(shard, columns=["text"])["text"].to_pylist()
