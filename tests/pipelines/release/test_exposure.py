"""What a model has met before, against a plain search."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.metrics import passage_hashes
from pipelines.metrics.segments import cuts
from pipelines.release.exposure import WINDOW, seen_documents, seen_segments
from pipelines.store.artifacts import Artifact
from tests.conftest import artifact_in


def corpus(folder: Path, **splits: list[str]) -> Artifact:
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    for split, texts in splits.items():
        table = pa.table({"id": [f"{split}-{i}" for i in range(len(texts))], "text": texts})
        pq.write_table(table, folder / "documents" / f"{split}-0000.parquet")
    return artifact_in(folder)


def test_documents_are_known_by_their_words(tmp_path: Path) -> None:
    known = corpus(tmp_path, train=["one  two\n", "three"], validation=["four"], test=["five"])
    assert seen_documents(["one two", "five", "four ", "thre"], known).tolist() == [
        True,
        False,
        True,
        False,
    ]


TEXT = st.text(alphabet="abc ", min_size=120, max_size=900)


@settings(max_examples=40, deadline=None)
@given(TEXT, TEXT, st.integers(0, 300), st.integers(60, 260))
def test_segments_are_found_wherever_they_stand(
    tmp_path_factory, train: str, test: str, at: int, length: int
) -> None:
    test = test[:150] + train[at : at + length] + test[150:] + "."  # never the whole of train
    known = corpus(tmp_path_factory.mktemp("corpus"), train=[train])
    expected = [b - a >= WINDOW and test[a : a + WINDOW] in train for a, b in pairwise(cuts(test))]
    assert seen_segments([test], known).tolist() == expected


def test_a_long_text_is_searched_across_its_chunks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(passage_hashes, "CHUNK", 64)
    words = " ".join(f"word{i}" for i in range(400))
    known = corpus(tmp_path, train=[words])
    seen = seen_segments([words[1000:1440], "something quite new, " * 12], known)
    assert seen[:4].all() and not seen[5:].any()


def test_a_short_line_is_known_as_a_whole(tmp_path: Path) -> None:
    known = corpus(tmp_path, train=["Ay, my lord.", "No."])
    assert seen_segments(["Ay, my lord.", "Ay, my", "No."], known).tolist() == [True, False, True]
