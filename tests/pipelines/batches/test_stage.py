"""Contract 2: a row group is a batch, a row is a padded sequence, nothing is dropped."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.batches import running_text, writer
from pipelines.batches import stage as batches
from pipelines.batches.buckets import assign, best_widths
from pipelines.batches.dataset import Split
from pipelines.batches.layout import rows_of_files
from pipelines.declaration.model_sections import BatchesSpec
from pipelines.errors import FolioError
from pipelines.store.artifacts import Workspace
from pipelines.tokens.vocabulary import Vocabulary
from tests.conftest import artifact_in

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=60)


def vocabulary_of(size: int, **settings) -> Vocabulary:
    words = tuple(f"t{i}" for i in range(size - 4))
    special = ("<unknown>", "<s>", "</s>", "<pad>")
    return Vocabulary(
        "word", False, (*special, *words), (1,) * size, pad_id=3, unknown_id=0, **settings
    )


def tokens(folder: Path, vocabulary: Vocabulary, **splits: list[list[int]]) -> dict:
    """Documents of any ids; a document of n tokens has 10 n characters."""
    (folder / "tokens").mkdir(parents=True)
    vocabulary.save(folder / "vocabulary")
    for split, rows in splits.items():
        for part in range(0, max(len(rows), 1), 25):  # several shards
            some = rows[part : part + 25]
            pq.write_table(
                pa.table(
                    {
                        "id": pa.array(
                            [f"{split}/{part + i}" for i in range(len(some))], pa.string()
                        ),
                        "tokens": pa.array(some, pa.list_(pa.from_numpy_dtype(vocabulary.id_type))),
                        "length": pa.array([len(r) for r in some], pa.int32()),
                        "characters": pa.array([10 * len(r) for r in some], pa.int64()),
                        "truncated": pa.array([0] * len(some), pa.int32()),
                        "label": pa.array(
                            [None if split == "unlabelled" else float(sum(r) % 2) for r in some],
                            pa.float32(),
                        ),
                    }
                ),
                folder / "tokens" / f"{split}-{part // 25:04}.parquet",
            )
    return {"tokens": artifact_in(folder)}


def build(
    folder: Path,
    spec: BatchesSpec,
    kind: str = "classifier",
    stateful: bool = False,
    vocabulary: Vocabulary | None = None,
    **splits: list[list[int]],
) -> tuple[Path, dict]:
    inputs = tokens(folder / "in", vocabulary or vocabulary_of(40), **splits)
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(), scratch.mkdir()
    config = {"batches": spec, "model.kind": kind, "model.stateful": stateful, "seed": 3}
    return out, batches.build(inputs, config, Workspace(out, scratch, folder))


def documents(lengths: list[int]) -> list[list[int]]:
    return [[4 + (i + j) % 36 for j in range(n)] for i, n in enumerate(lengths)]


def test_an_unlabelled_split_is_batched_in_the_widths_of_train(tmp_path: Path) -> None:
    out, counts = build(
        tmp_path,
        BatchesSpec(batch_size=4, max_buckets=2),
        train=documents([3] * 8 + [9] * 8),
        validation=documents([3]),
        test=documents([3]),
        unlabelled=documents([2, 11, 4]),
    )
    more = Split(artifact_in(out), "unlabelled")
    assert set(more.buckets) == set(counts["widths"]) == {3, 11}
    read = list(more.in_order(ids=True))
    assert sorted(name for batch in read for name in batch.ids) == [
        f"unlabelled/{i}" for i in range(3)
    ]
    assert all(np.isnan(batch.outcome).all() for batch in read)
    assert counts["unlabelled"]["rows"] == counts["unlabelled"]["documents"] == 3


@settings(max_examples=20, deadline=None)
@given(LENGTHS, LENGTHS, st.integers(1, 7), st.integers(1, 4))
def test_every_document_comes_out_once_right_padded(
    tmp_path_factory, train: list[int], test: list[int], size: int, buckets: int
) -> None:
    out, counts = build(
        tmp_path_factory.mktemp("b"),
        BatchesSpec(batch_size=size, max_buckets=buckets),
        train=documents(train),
        validation=documents([3]),
        test=documents(test),
    )
    for split, lengths in (("train", train), ("test", test)):
        rows = {}
        for path in sorted((out / "batches" / split).glob("*.parquet")):
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                full = file.metadata.row_group(group).num_rows
                assert full == size or group == file.num_row_groups - 1  # only the last is short
            for row in file.read().to_pylist():
                assert row["id"] not in rows and row["length"] >= 1 and row["weight"] == 1
                assert all(t == 3 for t in row["tokens"][row["length"] :])
                rows[row["id"]] = (row["tokens"][: row["length"]], row["label"])
        wanted = {f"{split}/{i}": (d, float(sum(d) % 2)) for i, d in enumerate(documents(lengths))}
        assert rows == wanted
        assert counts[split]["rows"] == len(lengths)
        assert counts[split]["tokens"] == sum(lengths)
        assert counts[split]["slots"] - counts[split]["padding"] == sum(lengths)
    assert len(counts["widths"]) <= buckets


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 5))
def test_the_widths_are_the_best_there_are(lengths: list[int], count: int, size: int) -> None:
    def slots(widths: tuple[int, ...]) -> int:
        rows = Counter(min(w for w in widths if w >= n) for n in lengths)
        return sum(-(-number // size) * size * width for width, number in rows.items())

    distinct = sorted(set(lengths))
    best = min(
        slots((*some, distinct[-1]))
        for k in range(count)
        for some in itertools.combinations(distinct[:-1], k)
    )
    widths = best_widths(*np.unique(lengths, return_counts=True), count, size)
    assert len(widths) <= count and slots(tuple(widths)) == best
    chosen = assign(np.array(lengths), widths)
    assert all(widths[b] >= n for b, n in zip(chosen, lengths, strict=True))


def test_metadata_and_types(tmp_path: Path) -> None:
    out, _ = build(
        tmp_path,
        BatchesSpec(batch_size=4, buckets=(5, 30)),
        train=documents([3, 9, 30]),
        validation=documents([2]),
        test=documents([2]),
    )
    schema = pq.read_schema(out / "batches" / "train" / "width-00005-0000.parquet")
    assert schema.field("tokens").type == pa.list_(pa.uint16(), 5)
    stored = {k.decode(): json.loads(v) for k, v in schema.metadata.items() if k[:5] != b"ARROW"}
    assert stored["pad_id"] == 3 and stored["unknown_id"] == 0
    assert stored["predict"] == "all" and stored["layout"] == "documents"
    assert stored["vocabulary_size"] == 40
    assert stored["buckets"] == [5, 30] and stored["seed"] == 3 and stored["batch_size"] == 4
    assert len(stored["vocabulary_digest"]) == 64


def test_other_readers_need_no_help(tmp_path: Path) -> None:
    rows = documents([3, 4, 9, 9, 2])
    out, _ = build(
        tmp_path,
        BatchesSpec(batch_size=2, buckets=(9,)),
        train=rows,
        validation=documents([2]),
        test=documents([2]),
    )
    path = out / "batches" / "train" / "width-00009-0000.parquet"
    wanted = [(f"train/{i}", len(r), r + [3] * (9 - len(r))) for i, r in enumerate(rows)]
    frame = pd.read_parquet(path)
    read = zip(frame["id"], frame["length"], map(list, frame["tokens"]), strict=True)
    assert list(read) == wanted
    frame = pl.read_parquet(path)
    assert list(frame.select("id", "length", "tokens").iter_rows()) == wanted
    found = duckdb.sql(f"select id, length, tokens from '{path}'").fetchall()
    assert [(i, n, list(t)) for i, n, t in found] == wanted


def test_a_document_too_long_for_the_declared_widths_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match=r"widest is 5.*31 tokens"):
        build(
            tmp_path,
            BatchesSpec(buckets=(5,)),
            train=documents([3, 31]),
            validation=documents([2]),
            test=documents([2]),
        )


def text(n: int) -> list[list[int]]:
    return [[4 + i % 36 for i in range(n)]]


@settings(max_examples=15, deadline=None)
@given(st.integers(40, 200), st.integers(2, 9), st.integers(1, 5))
def test_sequences_cover_each_target_once(tmp_path_factory, n: int, width: int, size: int) -> None:
    out, counts = build(
        tmp_path_factory.mktemp("t"),
        BatchesSpec(batch_size=size, sequence_length=width),
        "language_model",
        train=text(n),
        validation=text(40),
        test=text(41),
    )
    read = [
        (int(b.tokens[row, i]), int(b.outcome[row, i]))
        for b in Split(artifact_in(out), "train").in_order()
        for row, length in enumerate(b.length)
        for i in range(length)
    ]
    ids = text(n)[0]
    assert read == list(itertools.pairwise(ids))
    assert counts["train"]["tokens"] == n - 1


def in_lanes(folder: Path, n: int, width: int, lanes: int) -> Split:
    """The train split of a text of n tokens."""
    texts = {"train": text(n), "validation": text(90), "test": text(90)}
    spec = BatchesSpec(batch_size=lanes, sequence_length=width)
    out, _ = build(folder, spec, "language_model", True, **texts)
    return Split(artifact_in(out), "train")


def pairs_by_lane(stream, split: Split) -> list[list[tuple[int, int]]]:
    """The tokens of each lane with their targets; asserts that the rest is padding."""
    read: list[list[tuple[int, int]]] = [[] for _ in range(split.batch_size)]
    for batch in stream:
        assert batch.tokens.shape[1] == batch.outcome.shape[1] == next(iter(split.buckets))
        for lane, (tokens, targets, length) in enumerate(
            zip(batch.tokens.tolist(), batch.outcome.tolist(), batch.length.tolist(), strict=True)
        ):
            read[lane] += zip(tokens[:length], targets[:length], strict=True)
            assert set(tokens[length:] + targets[length:]) <= {batch.pad_id}
    return read


@settings(max_examples=15, deadline=None)
@given(st.integers(60, 300), st.integers(2, 9), st.integers(1, 6))
def test_lanes_continue_from_batch_to_batch(
    tmp_path_factory, n: int, width: int, lanes: int
) -> None:
    split = in_lanes(tmp_path_factory.mktemp("t"), n, width, lanes)
    read = pairs_by_lane(split.in_order(), split)
    assert list(itertools.chain(*read)) == list(itertools.pairwise(text(n)[0]))


@settings(max_examples=15, deadline=None)
@given(st.integers(60, 300), st.integers(2, 9), st.integers(1, 6))
def test_shuffled_lanes_begin_at_other_tokens_in_each_epoch(
    tmp_path_factory, n: int, width: int, lanes: int
) -> None:
    split = in_lanes(tmp_path_factory.mktemp("t"), n, width, lanes)
    offsets = set()
    in_order = pairs_by_lane(split.in_order(), split)
    for epoch in range(30):
        shifted = pairs_by_lane(split.epoch(epoch, shuffle=True), split)
        (offset,) = {len(whole) - len(rest) for whole, rest in zip(in_order, shifted, strict=True)}
        assert [whole[offset:] for whole in in_order] == shifted
        offsets.add(offset)
    assert offsets <= set(range(width)) and len(offsets) > 1
    assert pairs_by_lane(split.epoch(0), split) == in_order  # only on request


@pytest.mark.parametrize("start", [1, 5, 9])
def test_shuffled_lanes_can_start_anywhere(tmp_path: Path, start: int) -> None:
    split = in_lanes(tmp_path, 200, 5, 4)
    whole, rest = (list(split.epoch(2, at, shuffle=True)) for at in (0, start))
    assert len(rest) == len(whole) - start
    for a, b in zip(whole[start:], rest, strict=True):
        assert (a.tokens == b.tokens).all() and (a.outcome == b.outcome).all()


def test_too_short_a_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match=r"train text has 30 tokens.*one sequence of 100"):
        build(
            tmp_path,
            BatchesSpec(sequence_length=100),
            "language_model",
            train=text(30),
            validation=text(200),
            test=text(200),
        )


def test_rows_stay_rows_though_the_state_is_carried(tmp_path: Path) -> None:
    texts = {"train": text(200), "validation": text(90), "test": text(90)}
    for name, layout, stateful in (("a", "rows", True), ("b", "text", False)):
        build(
            tmp_path / name,
            BatchesSpec(layout=layout, batch_size=4, sequence_length=7),
            "language_model",
            stateful,
            **texts,
        )
    assert bytes_in(tmp_path / "a") == bytes_in(tmp_path / "b")
    assert Split(artifact_in(tmp_path / "a" / "out"), "train").layout == "rows"


# Language models over documents


LANGUAGE = st.lists(st.integers(0, 30), max_size=50)


def language_model(
    folder: Path, spec: BatchesSpec, train: list[list[int]], stateful: bool = False, **settings
) -> tuple[Split, dict]:
    vocabulary = vocabulary_of(40, **settings)
    out, counts = build(
        folder,
        spec,
        "language_model",
        stateful,
        vocabulary,
        train=train,
        validation=documents([9]),
        test=documents([30]),
    )
    return Split(artifact_in(out), "train"), counts["train"]


@settings(max_examples=20, deadline=None)
@given(LANGUAGE, st.integers(1, 7), st.integers(1, 4), st.booleans())
def test_each_document_predicts_its_own_tokens(
    tmp_path_factory, lengths: list[int], size: int, buckets: int, stateful: bool
) -> None:
    train = documents([*lengths, 2])
    spec = BatchesSpec(layout="documents", batch_size=size, max_buckets=buckets)
    split, counts = language_model(tmp_path_factory.mktemp("d"), spec, train, stateful)
    read, order = {}, []
    for batch in split.in_order(ids=True):
        assert (batch.real.sum(1) == batch.length).all() and (batch.length >= 1).all()
        assert (batch.tokens[~batch.real] == 3).all() and (batch.outcome[~batch.real] == 3).all()
        for row, name in enumerate(batch.ids):
            read[name] = (
                batch.tokens[row][batch.real[row]].tolist(),
                batch.outcome[row][batch.real[row]].tolist(),
            )
            order.append((batch.tokens.shape[1], int(name.split("/")[1])))
    assert read == {f"train/{i}": (d[:-1], d[1:]) for i, d in enumerate(train) if len(d) > 1}
    assert order == sorted(order) and len(order) == len(read)  # in each width in their order
    assert counts["rows"] == len(read) and counts["documents"] == len(train)
    assert counts["rows"] + counts["too_short"] == counts["documents"]
    assert counts["predicted"] == counts["tokens"] == sum(len(d) - 1 for d in train if len(d) > 1)
    assert split.layout == "documents" and not split.predicts_last
    if stateful:  # the last batch alone may be short, so that row k follows row k
        assert len(split.buckets) == 1
        assert [len(b.length) for b in split.in_order()][:-1] == [size] * (split.batch_count - 1)


@settings(max_examples=20, deadline=None)
@given(LANGUAGE, st.integers(1, 8), st.integers(1, 7))
def test_windows_predict_the_token_after_them(
    tmp_path_factory, lengths: list[int], width: int, size: int
) -> None:
    train = documents([*lengths, width + 1, width])
    spec = BatchesSpec(layout="windows", sequence_length=width, batch_size=size)
    split, counts = language_model(tmp_path_factory.mktemp("w"), spec, train)
    read, names = [], []
    for batch in split.in_order(ids=True):
        assert batch.tokens.shape[1] == width and (batch.length == width).all()
        assert (batch.tokens[:, 1:] == batch.outcome[:, :-1]).all()
        assert (batch.real.sum(1) == 1).all() and batch.mask.sum() == len(batch.length)
        read += zip(
            map(tuple, batch.tokens.tolist()), batch.outcome[batch.real].tolist(), strict=True
        )
        names += batch.ids
    windows = [(i, at) for i, d in enumerate(train) for at in range(len(d) - width)]
    assert read == [(tuple(train[i][at : at + width]), train[i][at + width]) for i, at in windows]
    assert names == [f"train/{i}@{at}" for i, at in windows]
    assert counts["rows"] == counts["predicted"] == len(windows)
    assert counts["too_short"] == sum(len(d) <= width for d in train) >= 1
    assert split.layout == "windows" and split.predicts_last
    assert split.metadata["predict"] == "last"


def test_windows_are_made_in_parts_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = BatchesSpec(layout="windows", sequence_length=5, batch_size=4)
    train = documents([20, 3, 0, 50, 6, 6, 1])
    language_model(tmp_path / "a", spec, train)
    monkeypatch.setattr(running_text, "WINDOW_TOKENS", 35)
    language_model(tmp_path / "b", spec, train)
    assert bytes_in(tmp_path / "a") == bytes_in(tmp_path / "b")


def bytes_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "out").rglob("*.parquet"))
    }


@pytest.mark.parametrize(
    ("kind", "stateful", "spec"),
    [
        ("classifier", False, BatchesSpec(batch_size=3)),
        ("language_model", False, BatchesSpec(batch_size=3, sequence_length=5)),
        ("language_model", True, BatchesSpec(batch_size=3, sequence_length=5)),
        ("language_model", False, BatchesSpec(batch_size=3, layout="documents")),
        ("language_model", True, BatchesSpec(batch_size=3, layout="documents")),
        ("language_model", False, BatchesSpec(batch_size=3, layout="windows", sequence_length=5)),
    ],
)
def test_the_same_tokens_give_the_same_bytes(
    tmp_path: Path, kind: str, stateful: bool, spec: BatchesSpec
) -> None:
    rows = {
        "train": documents([9 + i % 13 for i in range(60)]),
        "validation": documents([40, 9]),
        "test": documents([30]),
    }
    for name in ("a", "b"):
        build(tmp_path / name, spec, kind, stateful, **rows)
    first = bytes_in(tmp_path / "a")
    assert len(first) >= 3 and first == bytes_in(tmp_path / "b")


@pytest.mark.parametrize(
    ("written", "files"),
    [
        ([62], [8] * 7 + [6]),  # 31 batches of 2, 4 a file
        ([7, 7, 7], [14, 6, 1]),  # a file that is not full takes all of the next write
        ([1], [1]),
        ([], []),
        ([3, 0, 5], [8]),
    ],
)
def test_a_file_is_full_after_a_write(written: list[int], files: list[int]) -> None:
    assert rows_of_files(written, 2, 4) == files


def test_a_bucket_fills_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BATCHES_PER_FILE", 4)
    spec = BatchesSpec(layout="windows", sequence_length=5, batch_size=2)
    split, counts = language_model(tmp_path, spec, documents([40, 30, 7]))
    assert len(split.paths) == 8 and split.batch_count == counts["batches"] == 31
    assert counts["rows"] == sum(len(b.length) for b in split.epoch(0)) == 62
    sizes = [pq.ParquetFile(path).num_row_groups for path in split.paths]
    assert sizes == [4] * 7 + [3]


@pytest.mark.parametrize(
    ("spec", "predicted", "own"),
    [
        (BatchesSpec(layout="documents"), 9 + 9 + 1, 16),
        (BatchesSpec(layout="windows", sequence_length=4), 6 + 6, 10),
        (BatchesSpec(sequence_length=4), 21, 16),
    ],
)
def test_predicted_characters_leave_markers_out(
    tmp_path: Path, spec: BatchesSpec, predicted: int, own: int
) -> None:
    document = [1, *range(10, 18), 2]
    rows = [document, document, [1, 2]]  # 16 tokens that spell 220 characters, and 6 markers
    out, counts = build(
        tmp_path,
        spec,
        "language_model",
        vocabulary=vocabulary_of(40, begin="<s>", end="</s>"),
        train=rows,
        validation=rows,
        test=rows,
    )
    for split in ("train", "validation", "test"):
        assert counts[split]["predicted"] == predicted
        assert counts[split]["characters"] == round(220 * own / 16)
        batches = Split(artifact_in(out), split).in_order()
        assert predicted == sum(int(b.real.sum()) for b in batches)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (BatchesSpec(layout="documents"), "test text has no document with at least 2 tokens"),
        (
            BatchesSpec(layout="windows", sequence_length=1),
            "test text has no document with more than 1",
        ),
    ],
)
def test_a_split_that_predicts_nothing_is_named(
    tmp_path: Path, spec: BatchesSpec, message: str
) -> None:
    with pytest.raises(FolioError, match=message):
        build(
            tmp_path,
            spec,
            "language_model",
            train=documents([9]),
            validation=documents([9]),
            test=documents([1, 0, 1]),
        )


@pytest.mark.parametrize(
    "spec",
    [
        BatchesSpec(layout="documents", batch_size=3, max_buckets=3),
        BatchesSpec(layout="windows", sequence_length=4, batch_size=3),
    ],
)
def test_epochs_of_documents_and_windows(tmp_path: Path, spec: BatchesSpec) -> None:
    split, counts = language_model(tmp_path, spec, documents([i * 7 % 19 for i in range(150)]))

    def rows(stream) -> list[tuple]:
        return [
            (tuple(b.tokens[i][:n]), tuple(b.outcome[i][b.real[i]]))
            for b in stream
            for i, n in enumerate(b.length)
        ]

    in_order, first, second = (rows(s) for s in (split.in_order(), split.epoch(0), split.epoch(1)))
    assert sorted(in_order) == sorted(first) == sorted(second) and len(first) == counts["rows"]
    assert in_order != first != second and first == rows(split.epoch(0))
    assert rows(split.epoch(0, start=70)) == rows(itertools.islice(split.epoch(0), 70, None))
    assert rows(split.epoch(0, shuffle=False)) == in_order


def test_filled_rows_count_nothing_whatever_the_layout(tmp_path: Path) -> None:
    spec = BatchesSpec(layout="windows", sequence_length=4, batch_size=3)
    split, _ = language_model(tmp_path, spec, documents([8]))
    batch = list(split.in_order())[-1].filled(3)
    assert batch.weight.tolist() == [1, 0, 0] and batch.length.tolist() == [4, 1, 1]
    assert (batch.tokens[1:] == 3).all() and (batch.outcome[1:] == 3).all()
    assert batch.mask.tolist() == [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]


class TestEpochs:
    @pytest.fixture(scope="class")
    def split(self, tmp_path_factory) -> Split:
        lengths = [1 + i * 7 % 29 for i in range(2000)]
        out, _ = build(
            tmp_path_factory.mktemp("e"),
            BatchesSpec(batch_size=4, max_buckets=3),
            train=documents(lengths),
            validation=documents([2]),
            test=documents([2]),
        )
        return Split(artifact_in(out), "train")

    @staticmethod
    def rows(stream) -> list[tuple]:
        return [
            tuple(row[:n])
            for b in stream
            for row, n in zip(b.tokens.tolist(), b.length.tolist(), strict=True)
        ]

    def test_an_epoch_holds_every_row_once_in_another_order(self, split: Split) -> None:
        in_order, first, second = (
            self.rows(s) for s in (split.in_order(), split.epoch(0), split.epoch(1))
        )
        assert sorted(in_order) == sorted(first) == sorted(second)
        assert in_order != first != second
        assert first == self.rows(split.epoch(0))
        assert self.rows(split.epoch(0, shuffle=False)) == in_order

    def test_rows_are_mixed_beyond_their_batch(self, split: Split) -> None:
        written = {tuple(map(tuple, b.tokens.tolist())) for b in split.in_order()}
        mixed = [tuple(map(tuple, b.tokens.tolist())) for b in split.epoch(0)]
        assert sum(b in written for b in mixed) < len(mixed) / 10

    @pytest.mark.parametrize("start", [1, 63, 64, 65, 250, 501])
    def test_an_epoch_can_start_anywhere(self, split: Split, start: int) -> None:
        whole, rest = list(split.epoch(2)), list(split.epoch(2, start))
        assert len(whole) == split.batch_count and len(rest) == len(whole) - start
        for a, b in zip(whole[start:], rest, strict=True):
            assert (a.tokens == b.tokens).all() and (a.outcome == b.outcome).all()

    def test_short_batches_are_filled_with_weightless_rows(self, split: Split) -> None:
        batch = next(b for b in split.in_order() if len(b.length) == 4)
        filled = batch.filled(6)
        assert filled.tokens.shape == (6, batch.tokens.shape[1])
        assert filled.weight.tolist() == [1, 1, 1, 1, 0, 0] and filled.length[4:].tolist() == [1, 1]
        assert filled.mask.sum() == batch.length.sum()
