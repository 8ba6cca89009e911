"""Figures of a language model on parts of the held-out text: which parts are harder to predict.

Slices consist of segments (segments.py): a segment belongs to its document, and to the speaker at
its middle.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipelines.declaration.slices import EDGES, MOST_NAMED, NAMED, OTHERS, PARTS, slice_names
from pipelines.metrics.segment_figures import (
    COLUMNS,
    CONFIDENCE,
    FIGURES,
    figure_intervals,
    segment_sums,
)

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

FEWEST_SEGMENTS = 10  # with fewer, resampling says too little about the variation
# A speech in a play starts, after a blank line, with a line that contains only the speaker's name.
SPEAKER = re.compile(r"(?:\A|\n[ \t\r]*\n)([^\W\d_][^\n:]{0,39}):[ \t\r]*\n")
NOBODY = "nobody named"


def overall_intervals(segments: pa.Table) -> dict[str, Any]:
    """{confidence, segments, block, and for each figure {low, high}} of the whole test text;
    `block`: how many neighbouring segments were drawn together."""
    block, found = figure_intervals(segment_sums(segments), CONFIDENCE)
    return {
        "confidence": CONFIDENCE,
        "segments": len(segments),
        "block": block,
        **{name: one._asdict() for name, one in found.items()},
    }


def text_slices(
    segments: pa.Table, corpus: Artifact, kinds: Iterable[str]
) -> dict[str, list[dict[str, Any]]]:
    """{kind: [{slice, segments, characters, tokens, unknown, nats, each of FIGURES, low, high}]}.

    `low` to `high` is the interval of the bits per character, None if there are few segments;
    `corpus` has their test documents. The slices of a kind add up to the whole test text.
    """
    documents = corpus.table("documents/test-", ["id", "text", "group"])
    return {kind: _sliced(segments, _slices_of(kind, segments, documents), kind) for kind in kinds}


def _slices_of(kind: str, segments: pa.Table, documents: pa.Table) -> list[str]:
    """The slice of each segment."""
    if kind in NAMED:
        named = list((_speakers if kind == "speaker" else _groups)(segments, documents))
        return _most_named(named, segments["characters"].to_numpy())
    if kind == "part":
        ends = np.cumsum(segments["characters"].to_numpy())
        middles = ends - segments["characters"].to_numpy() / 2
        which = np.minimum(middles / max(ends[-1], 1e-9) * PARTS, PARTS - 1).astype(int)
    else:
        values = _lengths(segments) if kind == "length" else _unknown_rates(segments)
        which = np.searchsorted(np.asarray(EDGES[kind]), values, side="left")
    names = slice_names(kind)
    return [names[number] for number in which]


def _lengths(segments: pa.Table) -> np.ndarray:
    """(segments,): predicted tokens of each segment's document."""
    where = segments["id"].combine_chunks().dictionary_encode().indices.to_numpy()
    return np.bincount(where, segments["tokens"].to_numpy())[where]


def _unknown_rates(segments: pa.Table) -> np.ndarray:
    tokens, unknown = (segments[name].to_numpy() for name in ("tokens", "unknown"))
    return unknown / np.maximum(tokens, 1)


def _groups(segments: pa.Table, documents: pa.Table) -> Iterator[str]:
    """The group of each segment's document, else the document itself: the file, such as a book."""
    ids, groups = (documents[name].to_pylist() for name in ("id", "group"))
    called = {
        name: group or name.rpartition("#")[0] or name  # a cut file is named name#split
        for name, group in zip(ids, groups, strict=True)
    }
    return (called[name] for name in segments["id"].to_pylist())


def _speakers(segments: pa.Table, documents: pa.Table) -> Iterator[str]:
    """The speaker at the middle of each segment: the last heading before it."""
    texts = dict(zip(*(documents[name].to_pylist() for name in ("id", "text")), strict=True))
    ids, starts = (segments[name].to_pylist() for name in ("id", "start"))
    current, places, names = None, np.empty(0), [NOBODY]
    for number, (name, start) in enumerate(zip(ids, starts, strict=True)):
        if name != current:
            current, headings = name, list(SPEAKER.finditer(texts[name]))
            places = np.array([heading.start() for heading in headings])
            names = [NOBODY, *(heading[1] for heading in headings)]
        last = number + 1 == len(ids) or ids[number + 1] != name
        end = len(texts[name]) if last else starts[number + 1]
        yield names[int(np.searchsorted(places, (start + end) / 2, side="right"))]


def _most_named(named: list[str], characters: np.ndarray) -> list[str]:
    """Those with the most text keep their names; if there are too many, the rest become OTHERS."""
    sizes: Counter[str] = Counter()
    for name, size in zip(named, characters.tolist(), strict=True):
        sizes[name] += size
    if len(sizes) <= MOST_NAMED:
        return named
    kept = {name for name, _ in sizes.most_common(MOST_NAMED - 1)}
    return [name if name in kept else OTHERS for name in named]


def _sliced(segments: pa.Table, names: list[str], kind: str) -> list[dict[str, Any]]:
    found = np.array(names, object)
    rows = [
        row
        for name in slice_names(kind) or sorted(set(names))
        if (row := _row(name, segments.filter(pa.array(found == name)))) is not None
    ]
    if kind in NAMED:
        rows.sort(key=lambda row: (row["slice"] == OTHERS, -row["characters"]))
    return rows


def _row(name: str, segments: pa.Table) -> dict[str, Any] | None:
    """None for a slice in which no text was predicted."""
    sums = segment_sums(segments)
    total = sums.sum(axis=0)
    if not total[COLUMNS.index("characters")]:
        return None
    counts = {key: int(segments[key].to_numpy().sum()) for key in ("tokens", "unknown")}
    spread = {"low": None, "high": None}
    if len(segments) >= FEWEST_SEGMENTS:
        spread = figure_intervals(sums, CONFIDENCE)[1]["bits_per_character"]._asdict()
    return {
        "slice": name,
        "segments": len(segments),
        "characters": float(total[1]),
        **counts,
        "nats": float(total[0]),
        **{key: float(of(total)) for key, of in FIGURES.items()},
        **spread,
    }
