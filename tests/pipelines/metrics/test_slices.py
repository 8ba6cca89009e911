"""Which segment is in which slice, on texts whose answer is plain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from pipelines.declaration.slices import MOST_NAMED, OTHERS
from pipelines.metrics import slices as slicing
from pipelines.metrics.slices import text_slices
from pipelines.store.artifacts import Artifact
from tests.conftest import artifact_in

PLAY = "Exeunt all but two.\n\nMARIAN:\n" + "so it goes " * 20 + "\n\nOLD TOM:\nAye: it does.\n"


def corpus_of(folder: Path, **columns: list[str | None]) -> Artifact:
    (folder / "documents").mkdir()
    table = pl.DataFrame(columns, schema={"id": pl.String, "text": pl.String, "group": pl.String})
    table.write_parquet(folder / "documents" / "test-0000.parquet")
    return artifact_in(folder)


def segments_of(
    ids: list[str],
    starts: list[int],
    nats: list[float],
    tokens: list[int] | None = None,
    unknown: list[int] | None = None,
) -> pa.Table:
    """Of 10 characters each."""
    count = len(ids)
    return pa.table(
        {
            "id": ids,
            "start": starts,
            "characters": np.full(count, 10.0),
            "tokens": tokens or [10] * count,
            "unknown": unknown or [0] * count,
            "nats": nats,
        }
    )


def found(corpus: Artifact, segments: pa.Table, kind: str) -> dict[str, tuple[int, float]]:
    rows = text_slices(segments, corpus, (kind,))[kind]
    return {row["slice"]: (row["segments"], row["nats"]) for row in rows}


def test_a_segment_is_of_who_speaks_in_its_middle(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, id=["play.txt#test"], text=[PLAY], group=[None])
    tom = PLAY.index("\n\nOLD TOM")
    starts = [0, 15, 50, tom - 10, tom + 1]
    segments = segments_of(["play.txt#test"] * 5, starts, [1.0, 2.0, 4.0, 8.0, 16.0])
    # 0 to 15 is nobody's; 15 to 50 has its middle after MARIAN's heading; `Aye:` is no heading.
    assert found(corpus, segments, "speaker") == {
        "MARIAN": (3, 14.0),
        "OLD TOM": (1, 16.0),
        "nobody named": (1, 1.0),
    }


def test_a_group_is_what_the_corpus_says_else_the_file(tmp_path: Path) -> None:
    corpus = corpus_of(
        tmp_path,
        id=["a.txt#test", "books/b.txt", "c"],
        text=["x", "y", "z"],
        group=[None, None, "verse"],
    )
    segments = segments_of(
        ["a.txt#test", "books/b.txt", "books/b.txt", "c"], [0, 0, 10, 0], [1.0, 2.0, 4.0, 8.0]
    )
    assert found(corpus, segments, "group") == {
        "books/b.txt": (2, 6.0),
        "a.txt": (1, 1.0),
        "verse": (1, 8.0),
    }


def test_many_groups_become_others(tmp_path: Path) -> None:
    names = [f"{number:02}.txt" for number in range(MOST_NAMED + 5)]
    corpus = corpus_of(tmp_path, id=names, text=["x"] * len(names), group=[None] * len(names))
    segments = segments_of([*names, names[-1]], [0] * len(names) + [10], [1.0] * len(names) + [2.0])
    rows = found(corpus, segments, "group")
    assert len(rows) == MOST_NAMED and list(rows)[-1] == OTHERS
    assert next(iter(rows)) == names[-1] and rows[OTHERS] == (6, 6.0)


def test_parts_lengths_and_unknown_tokens(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, id=["a", "b"], text=["x", "y"], group=[None, None])
    segments = segments_of(
        ["a"] * 15 + ["b"] * 5,
        [*range(0, 150, 10), *range(0, 50, 10)],
        [1.0] * 20,
        tokens=[10] * 15 + [20] * 5,
        unknown=[0] * 19 + [1],
    )
    assert found(corpus, segments, "part") == {
        f"part {number} of 10": (2, 2.0) for number in range(1, 11)
    }
    assert found(corpus, segments, "length") == {"up to 100": (5, 5.0), "up to 200": (15, 15.0)}
    assert found(corpus, segments, "unknown_rate") == {"none": (19, 19.0), "over 3%": (1, 1.0)}


def test_intervals_hold_the_figure_and_narrow_with_more_text(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, id=["a"], text=["x"], group=[None])
    spread = []
    for count in (9, 40, 4000):
        nats = np.random.default_rng(1).gamma(4.0, 4.0, count)
        segments = segments_of(["a"] * count, list(range(0, 10 * count, 10)), nats.tolist())
        (row,) = text_slices(segments, corpus, ("group",))["group"]
        if count < slicing.FEWEST_SEGMENTS:
            assert row["low"] is row["high"] is None
        else:
            assert row["low"] < row["bits_per_character"] < row["high"]
            spread.append(row["high"] - row["low"])
    assert spread[0] / spread[1] == pytest.approx(10, rel=0.4)  # as the root of the text's length
    overall = slicing.overall_intervals(segments)["bits_per_character"]
    assert overall == {"low": row["low"], "high": row["high"]}
