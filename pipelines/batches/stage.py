"""The batches stage: a row group is a batch, a row is a padded sequence (docs/batches.md).

Documents become one row each, in a few widths ("buckets") that waste the least padding. Language
models can instead read running text in rows of one width: `rows` cuts it into consecutive
sequences; `lanes` arranges it so that lane k of batch b+1 continues lane k of batch b; `windows`
has a row for every sequence_length tokens of a document, and predicts only the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batches.buckets import assign, best_widths
from pipelines.batches.columns import column, padded
from pipelines.batches.running_text import TokenStream
from pipelines.batches.tokenized_split import TokenizedSplit
from pipelines.batches.writer import BatchWriter, schema, total
from pipelines.declaration.data_sections import SPLITS, UNLABELLED
from pipelines.declaration.model_sections import BatchesSpec
from pipelines.errors import FolioError
from pipelines.parallel import mapped
from pipelines.store.artifacts import Artifact, Inputs, Workspace
from pipelines.tokens.vocabulary import Vocabulary, folder_digest

# Held-out text is read with the state carried; with few lanes, hardly any token lacks context.
HELD_OUT_LANES = {"validation": 8, "test": 1}


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Write `batches/<split>/*.parquet`. Returns rows, slots and padding per split and width.

    Also per split: documents, too_short (those without a token to predict) and, for language
    models, predicted (tokens) and characters (of the text, spelled by the predicted tokens).
    """
    spec: BatchesSpec = config["batches"]
    tokens = inputs["tokens"]
    vocabulary = Vocabulary.load(tokens.path / "vocabulary")
    classes = tokens.counts.get("classes", 2) if config["model.kind"] == "classifier" else 0
    plan = Plan(
        spec,
        vocabulary,
        config["model.kind"] == "language_model",
        config["model.stateful"],
        tokens,
        {
            "pad_id": vocabulary.pad_id,
            "unknown_id": vocabulary.unknown_id,
            "vocabulary_size": vocabulary.size,
            "vocabulary_digest": folder_digest(tokens.path / "vocabulary"),
            "seed": config["seed"],
            "kind": config["model.kind"],
            "predict": "last" if spec.layout == "windows" else "all",
            **({"classes": classes} if classes > 2 else {}),
        },
    )
    if plan.language_model and spec.layout != "documents":
        return _write_text(plan, work)
    return _write_documents(plan, work)


@dataclass(frozen=True)
class Plan:
    """What to write, and from what."""

    spec: BatchesSpec
    vocabulary: Vocabulary
    language_model: bool
    stateful: bool
    tokens: Artifact
    metadata: dict[str, Any]

    @property
    def width(self) -> int:
        """For rows of running text."""
        assert self.spec.sequence_length, "Spec requires it for running text"
        return self.spec.sequence_length

    def writer(
        self, work: Workspace, split: str, width: int, batch_size: int, **metadata: Any
    ) -> BatchWriter:
        columns = schema(
            width,
            self.vocabulary.id_type,
            "targets" if self.language_model else "label",
            self.metadata | metadata | {"batch_size": batch_size, "split": split},
        )
        return BatchWriter(
            work.out / "batches" / split,
            f"width-{width:05}",
            columns,
            batch_size,
            self.vocabulary.markers,
        )

    def counted(
        self,
        counts: dict[str, Any],
        texts: TokenizedSplit,
        too_short: int,
        writers: list[BatchWriter],
    ) -> dict[str, Any]:
        """The counts of a split, with its documents and predictions."""
        found = counts | {"documents": len(texts.lengths), "too_short": too_short}
        if not self.language_model:
            return found
        text = sum(writer.predicted_text for writer in writers)
        return found | {
            "predicted": sum(writer.predicted for writer in writers),
            "characters": texts.spelled(text, len(self.vocabulary.markers)),
        }


# One row per document


def _write_documents(plan: Plan, work: Workspace) -> dict[str, Any]:
    more = [UNLABELLED] if plan.tokens.files(f"tokens/{UNLABELLED}-") else []
    texts = {split: TokenizedSplit.read(plan.tokens, split) for split in (*SPLITS, *more)}
    # A language model predicts n - 1 tokens of a document of n tokens.
    shift = int(plan.language_model)
    lengths = {split: found.lengths - shift for split, found in texts.items()}
    for split in texts:
        if not (lengths[split] > 0).any():
            raise FolioError(
                f"{split} text has no document with at least {1 + shift} tokens; give "
                "more text or a larger share to the split"
            )
    widths = _widths(plan, lengths)
    counts: dict[str, Any] = {"widths": widths}
    for split in texts:
        writers = [
            plan.writer(
                work, split, width, plan.spec.batch_size, layout="documents", buckets=widths
            )
            for width in widths
        ]
        _fill_buckets(plan, split, writers, widths, work)
        too_short = int((lengths[split] < 1).sum())
        counts[split] = plan.counted(total(writers, widths), texts[split], too_short, writers)
        if counts[split]["rows"] + too_short != len(lengths[split]):
            raise FolioError(
                f"batches {split}: {counts[split]['rows']} rows written for "
                f"{len(lengths[split])} documents; this is a bug in Folio"
            )
    return counts


def _widths(plan: Plan, lengths: dict[str, np.ndarray]) -> list[int]:
    """Widths for the lengths in train; the widest fits the longest document of all splits."""
    longest = max(int(values.max()) for values in lengths.values())
    if plan.spec.buckets == "auto":
        train = lengths["train"]
        widths = best_widths(train[train > 0], plan.spec.max_buckets, plan.spec.batch_size)
        widths = [*widths[:-1], max(longest, widths[-1])]
    else:
        widths = sorted(set(plan.spec.buckets))
    if widths[-1] < longest:
        raise FolioError(
            f"batches.buckets: the widest is {widths[-1]}, but a document has "
            f"{longest} tokens; add a width or set tokens.max_tokens"
        )
    # The state is carried from row k of a batch to row k of the next, in the documents' order.
    return widths[-1:] if plan.stateful else widths


def _fill_buckets(
    plan: Plan, split: str, writers: list[BatchWriter], widths: list[int], work: Workspace
) -> None:
    """Documents in order, each in the narrowest width that fits."""
    read = 0
    shards = plan.tokens.files(f"tokens/{split}-")
    for documents, parts in mapped(partial(_bucketed, plan, widths), shards):
        for _ in mapped(lambda part: writers[part[0]].write(part[1]), parts):
            pass
        read += documents
        work.progress(read, None, f"{split} documents batched")
    for writer in writers:
        writer.close()


def _bucketed(plan: Plan, widths: list[int], shard: Path) -> tuple[int, list[tuple[int, pa.Table]]]:
    """The number of documents in a shard, and their rows by the index of the width."""
    table = pq.read_table(shard)
    lengths = table["length"].to_numpy() - int(plan.language_model)
    buckets = np.where(lengths > 0, assign(lengths, widths), -1)
    chosen = ((bucket, table.filter(pa.array(buckets == bucket))) for bucket in range(len(widths)))
    return table.num_rows, [
        (bucket, _rows(some, widths[bucket], plan)) for bucket, some in chosen if some.num_rows
    ]


def _rows(table: pa.Table, width: int, plan: Plan) -> pa.Table:
    """Documents with ragged ids as rows of one width."""
    ids = np.concatenate([chunk.flatten().to_numpy() for chunk in table["tokens"].chunks])
    lengths, pad_id = table["length"].to_numpy(), plan.vocabulary.pad_id
    outcome = {"label": table["label"]}
    if plan.language_model:
        ends = np.cumsum(lengths)
        targets = np.delete(ids, ends - lengths)  # all except the first of each document
        ids, lengths = np.delete(ids, ends - 1), lengths - 1
        outcome = {"targets": column(padded(targets, lengths, width, pad_id))}
    return pa.table(
        {
            "tokens": column(padded(ids, lengths, width, pad_id)),
            "length": lengths,
            **outcome,
            "id": table["id"],
            "weight": np.ones(len(lengths), np.float32),
        }
    )


# Running text


def _write_text(plan: Plan, work: Workspace) -> dict[str, Any]:
    counts: dict[str, Any] = {"widths": [plan.spec.sequence_length]}
    for split in SPLITS:
        stream = TokenStream(plan.tokens, split, plan.vocabulary, work.scratch / f"{split}.ids")
        texts = TokenizedSplit.read(plan.tokens, split)
        write = _write_windows if plan.spec.layout == "windows" else _write_sequences
        counts[split] = write(plan, split, stream, texts, work)
    return counts


def _write_sequences(
    plan: Plan, split: str, stream: TokenStream, texts: TokenizedSplit, work: Workspace
) -> dict[str, Any]:
    """The documents concatenated: independent rows, or lanes that carry the state."""
    width, batch_size = plan.width, plan.spec.batch_size
    if len(stream.ids) <= (width if split == "train" else 1):
        raise FolioError(
            f"{split} text has {len(stream.ids)} tokens, too few for one sequence "
            f"of {width}; give more text or a shorter batches.sequence_length"
        )
    continued = plan.stateful and plan.spec.layout == "text"
    lanes = HELD_OUT_LANES.get(split, batch_size if continued else 0)
    lanes = min(lanes, (len(stream.ids) - 1) // width)
    writer = plan.writer(
        work,
        split,
        width,
        lanes or batch_size,
        layout="lanes" if lanes else "rows",
        buckets=[width],
    )
    for batch in stream.lanes(lanes, width) if lanes else stream.rows(width, batch_size):
        # Several batches, or one of the last, of those lanes that have not ended.
        writer.batch_size = min(batch.num_rows, lanes or batch_size)
        writer.write(batch)
        work.progress(writer.real, len(stream.ids), f"{split} tokens batched")
    writer.close()
    return plan.counted(writer.counts(width), texts, 0, [writer])


def _write_windows(
    plan: Plan, split: str, stream: TokenStream, texts: TokenizedSplit, work: Workspace
) -> dict[str, Any]:
    width = plan.width
    writer = plan.writer(
        work, split, width, plan.spec.batch_size, layout="windows", buckets=[width]
    )
    for rows in stream.windows(width):
        writer.write(rows)
        work.progress(writer.rows, len(stream.ids), f"{split} windows batched")
    writer.close()
    if not writer.rows:
        raise FolioError(
            f"{split} text has no document with more than {width} tokens; give more text "
            "or a shorter batches.sequence_length"
        )
    too_short = int((texts.lengths <= width).sum())
    wanted = int(np.maximum(texts.lengths - width, 0).sum())
    if writer.rows != wanted:
        raise FolioError(
            f"batches {split}: {writer.rows} windows written, expected {wanted}; this is "
            "a bug in Folio"
        )
    return plan.counted(writer.counts(width), texts, too_short, [writer])
