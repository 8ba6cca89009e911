"""Contract 2: a row group is a batch, a row is a padded sequence, nothing is dropped."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import batches
from pipelines.buckets import assign, best_widths
from pipelines.dataset import Split
from pipelines.errors import FolioError
from pipelines.spec import BatchesSpec
from pipelines.store import Workspace
from pipelines.vocabulary import Vocabulary

LENGTHS = st.lists(st.integers(1, 30), min_size=1, max_size=60)


def vocabulary_of(size: int, **settings) -> Vocabulary:
    words = tuple(f"t{i}" for i in range(size - 4))
    special = ("<unknown>", "<s>", "</s>", "<pad>")
    return Vocabulary("word", False, (*special, *words), (1,) * size, pad_id=3, unknown_id=0,
                      **settings)


def tokens(folder: Path, vocabulary: Vocabulary, **splits: list[list[int]]) -> dict:
    """Documents of any ids; a document of n tokens has 10 n characters."""
    (folder / "tokens").mkdir(parents=True)
    vocabulary.save(folder / "vocabulary")
    for split, rows in splits.items():
        for part in range(0, max(len(rows), 1), 25):  # several shards
            some = rows[part:part + 25]
            pq.write_table(pa.table({
                "id": pa.array([f"{split}/{part + i}" for i in range(len(some))], pa.string()),
                "tokens": pa.array(some, pa.list_(pa.from_numpy_dtype(vocabulary.id_type))),
                "length": pa.array([len(r) for r in some], pa.int32()),
                "characters": pa.array([10 * len(r) for r in some], pa.int64()),
                "truncated": pa.array([0] * len(some), pa.int32()),
                "label": pa.array([float(sum(r) % 2) for r in some], pa.float32())}),
                folder / "tokens" / f"{split}-{part // 25:04}.parquet")
    return {"tokens": SimpleNamespace(path=folder)}


def build(folder: Path, spec: BatchesSpec, kind: str = "classifier", stateful: bool = False,
          vocabulary: Vocabulary | None = None, **splits: list[list[int]]) -> tuple[Path, dict]:
    inputs = tokens(folder / "in", vocabulary or vocabulary_of(40), **splits)
    out, scratch = folder / "out", folder / "scratch"
    out.mkdir(), scratch.mkdir()
    config = {"batches": spec, "model.kind": kind, "model.stateful": stateful, "seed": 3}
    return out, batches.build(inputs, config, Workspace(out, scratch, folder))


def documents(lengths: list[int]) -> list[list[int]]:
    return [[4 + (i + j) % 36 for j in range(n)] for i, n in enumerate(lengths)]


@settings(max_examples=20, deadline=None)
@given(LENGTHS, LENGTHS, st.integers(1, 7), st.integers(1, 4))
def test_every_document_comes_out_once_right_padded(
        tmp_path_factory, train: list[int], test: list[int], size: int, buckets: int) -> None:
    out, counts = build(tmp_path_factory.mktemp("b"),
                        BatchesSpec(batch_size=size, max_buckets=buckets),
                        train=documents(train), validation=documents([3]), test=documents(test))
    for split, lengths in (("train", train), ("test", test)):
        rows = {}
        for path in sorted((out / "batches" / split).glob("*.parquet")):
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                full = file.metadata.row_group(group).num_rows
                assert full == size or group == file.num_row_groups - 1  # only the last is short
            for row in file.read().to_pylist():
                assert row["id"] not in rows and row["length"] >= 1 and row["weight"] == 1
                assert all(t == 3 for t in row["tokens"][row["length"]:])
                rows[row["id"]] = (row["tokens"][:row["length"]], row["label"])
        wanted = {f"{split}/{i}": (d, float(sum(d) % 2)) for i, d in enumerate(documents(lengths))}
        assert rows == wanted
        assert counts[split]["rows"] == len(lengths)
        assert counts[split]["tokens"] == sum(lengths)
        assert counts[split]["slots"] - counts[split]["padding"] == sum(lengths)
    assert len(counts["widths"]) <= buckets


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 4))
def test_the_widths_are_the_best_there_are(lengths: list[int], count: int) -> None:
    def slots(widths: tuple[int, ...]) -> int:
        return sum(min(w for w in widths if w >= n) for n in lengths)

    distinct = sorted(set(lengths))
    best = min(slots((*some, distinct[-1]))
               for k in range(count) for some in itertools.combinations(distinct[:-1], k))
    widths = best_widths(np.array(lengths), count)
    assert len(widths) <= count and slots(tuple(widths)) == best
    chosen = assign(np.array(lengths), widths)
    assert all(widths[b] >= n for b, n in zip(chosen, lengths, strict=True))


def test_metadata_and_types(tmp_path: Path) -> None:
    out, _ = build(tmp_path, BatchesSpec(batch_size=4, buckets=(5, 30)),
                   train=documents([3, 9, 30]), validation=documents([2]), test=documents([2]))
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
    out, _ = build(tmp_path, BatchesSpec(batch_size=2, buckets=(9,)), train=rows,
                   validation=documents([2]), test=documents([2]))
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
        build(tmp_path, BatchesSpec(buckets=(5,)), train=documents([3, 31]),
              validation=documents([2]), test=documents([2]))


def text(n: int) -> list[list[int]]:
    return [[4 + i % 36 for i in range(n)]]


@settings(max_examples=15, deadline=None)
@given(st.integers(40, 200), st.integers(2, 9), st.integers(1, 5))
def test_sequences_cover_each_target_once(tmp_path_factory, n: int, width: int, size: int) -> None:
    out, counts = build(tmp_path_factory.mktemp("t"),
                        BatchesSpec(batch_size=size, sequence_length=width), "language_model",
                        train=text(n), validation=text(40), test=text(41))
    read = [(int(b.tokens[row, i]), int(b.outcome[row, i]))
            for b in Split(out, "train").in_order()
            for row, length in enumerate(b.length) for i in range(length)]
    ids = text(n)[0]
    assert read == list(itertools.pairwise(ids))
    assert counts["train"]["tokens"] == n - 1


@settings(max_examples=15, deadline=None)
@given(st.integers(60, 300), st.integers(2, 9), st.integers(1, 6))
def test_lanes_continue_from_batch_to_batch(tmp_path_factory, n: int, width: int,
                                            lanes: int) -> None:
    out, _ = build(tmp_path_factory.mktemp("t"),
                   BatchesSpec(batch_size=lanes, sequence_length=width), "language_model", True,
                   train=text(n), validation=text(90), test=text(90))
    split = Split(out, "train")
    read: dict[int, list[int]] = {k: [] for k in range(split.batch_size)}
    targets: dict[int, list[int]] = {k: [] for k in range(split.batch_size)}
    for batch in split.in_order():
        for lane, length in enumerate(batch.length):
            read[lane] += batch.tokens[lane, :length].tolist()
            targets[lane] += batch.outcome[lane, :length].tolist()
    ids = text(n)[0]
    assert list(itertools.chain(*read.values())) == ids[:-1]
    assert list(itertools.chain(*targets.values())) == ids[1:]
    assert [read[k][1:] for k in read] == [targets[k][:-1] for k in targets]


def test_too_short_a_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolioError, match=r"train text has 30 tokens.*one sequence of 100"):
        build(tmp_path, BatchesSpec(sequence_length=100), "language_model",
              train=text(30), validation=text(200), test=text(200))


class TestEpochs:
    @pytest.fixture(scope="class")
    def split(self, tmp_path_factory) -> Split:
        lengths = [1 + i * 7 % 29 for i in range(2000)]
        out, _ = build(tmp_path_factory.mktemp("e"), BatchesSpec(batch_size=4, max_buckets=3),
                       train=documents(lengths), validation=documents([2]), test=documents([2]))
        return Split(out, "train")

    @staticmethod
    def rows(stream) -> list[tuple]:
        return [tuple(row[:n]) for b in stream
                for row, n in zip(b.tokens.tolist(), b.length.tolist(), strict=True)]

    def test_an_epoch_holds_every_row_once_in_another_order(self, split: Split) -> None:
        in_order, first, second = (self.rows(s) for s in (
            split.in_order(), split.epoch(0), split.epoch(1)))
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
