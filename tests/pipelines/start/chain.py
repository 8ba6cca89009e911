"""A tiny language model, and a classifier that starts from it."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import declared

LANGUAGE_MODEL = """\
title: Tiny language model of reviews
source: {{path: {samples}/reviews.csv}}
corpus: {{reader: csv, split: hash, validation: 0.2, test: 0.2, text_column: review}}
tokens: {{kind: word, lower: true, words: punctuation, end: </s>}}
batches: {{batch_size: 8, sequence_length: 20}}
model: {{kind: language_model, cell: lstm, embedding: 6, units: [7], tie_embeddings: true}}
training: {{epochs: 1, learning_rate: 0.02}}
evaluation: {{start: "this film", sample_length: 12, temperatures: [1.0]}}
registry: {{metric: perplexity, floor: 5000}}
"""
CLASSIFIER = """\
title: Tiny reviews, started from a language model
source: {{path: {samples}/reviews.csv}}
corpus: {{reader: csv, split: hash, validation: 0.2, test: 0.2, text_column: review,
         label_column: sentiment}}
tokens: {{kind: word, lower: true, words: punctuation, max_tokens: 40}}
batches: {{batch_size: 16, max_buckets: 2}}
model: {{kind: classifier, cell: lstm, embedding: 6, units: [7], pool: all,
        start_from: {{pipeline: tiny-lm}}}}
training: {{epochs: 1, learning_rate: 0.02}}
registry: {{metric: accuracy, floor: 0.1}}
"""


def declared_chain(folder: Path) -> tuple[Path, Path]:
    """(language model, classifier)."""
    return (
        declared(folder, "tiny-lm", LANGUAGE_MODEL),
        declared(folder, "tiny-started", CLASSIFIER),
    )
