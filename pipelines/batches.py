"""The batches stage: a row group is a batch, a row is a padded sequence (docs/batches.md).

Documents become a row each, of a few widths ("buckets"), chosen to waste the least on padding.
Language models may instead read running text in rows of one width: `rows` cuts it one sequence
after another; `lanes` lays it out so that lane k of batch b+1 continues lane k of batch b;
`windows` has a row for every sequence_length tokens of a document, and predicts the next alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.batch_files import BatchWriter, column, padded, schema, total
from pipelines.buckets import assign, best_widths
from pipelines.errors import FolioError
from pipelines.spec import BatchesSpec
from pipelines.stages import Inputs
from pipelines.store import Workspace
from pipelines.token_stream import TokenStream
from pipelines.vocabulary import Vocabulary, folder_digest

SPLITS = ("train", "validation", "test")
# Held-out text is read with the state carried; few lanes leave hardly a token without context.
HELD_OUT_LANES = {"validation": 8, "test": 1}


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Write `batches/<split>/*.parquet`. Returns rows, slots and padding per split and width.

    Also per split: documents, too_short (those without a token to predict), and for language
    models predicted (tokens) and characters (that these spell; exact where a token is one, else
    the text's own in proportion).
    """
    spec: BatchesSpec = config["batches"]
    tokens = inputs["tokens"].path
    vocabulary = Vocabulary.load(tokens / "vocabulary")
    common = {"pad_id": vocabulary.pad_id, "unknown_id": vocabulary.unknown_id,
              "vocabulary_size": vocabulary.size,
              "vocabulary_digest": folder_digest(tokens / "vocabulary"),
              "seed": config["seed"], "kind": config["model.kind"],
              "predict": "last" if spec.layout == "windows" else "all"}
    language_model = config["model.kind"] == "language_model"
    if not language_model or spec.layout == "documents":
        counts = _write_documents(tokens / "tokens", spec, vocabulary, common,
                                  config["model.stateful"], work)
    else:
        counts = _write_text(tokens / "tokens", spec, vocabulary, common,
                             config["model.stateful"], work)
    if language_model:
        for split in SPLITS:
            counts[split] |= _predicted(tokens / "tokens", work.out / "batches", split, vocabulary)
    return counts
