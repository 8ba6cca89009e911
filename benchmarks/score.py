"""Scoring 10,000 reviews with the book's bi-LSTM. The weights are random; the time is the same."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.data import Declared, artifact, imdb, made, texts
from benchmarks.harness import Conditions, Side, Turn, apart, take_turns, timed
from benchmarks.results import Row
from pipelines.declaration.load import load_spec
from pipelines.serving.batching import GROUP_TEXTS, MAX_ROWS, model_inputs, rows_by_length
from pipelines.store.artifacts import Artifact

REVIEWS, THEIRS = 10_000, 256


def compare(conditions: Conditions) -> Iterator[Row]:
    declared = imdb(conditions)
    place = made(conditions, declared)
    count = 40 if conditions.quick else REVIEWS
    found = take_turns(
        {
            "ours": Side(ours, (declared, place["corpus"], place["tokens"], count)),
            "keras": Side(keras_predict, (declared, place["corpus"], place["tokens"], count)),
        },
        conditions.repeats,
    )
    rates = [
        slots * side.median / count / 1e3
        for slots, side in zip(apart(_slots, place["tokens"], count), found.values(), strict=True)
    ]
    yield Row.times(
        "score/keras",
        f"Scoring {count:,} reviews",
        "Keras predict, one padded array",
        found["ours"],
        found["keras"],
        "reviews/s",
        3,
        "Folio starts from the texts, like folio predict; the other side from ids, "
        f"padded to the longest of the {count:,}, {MAX_ROWS} rows per step, on {THEIRS} "
        f"reviews per round. Per second, Folio processes {rates[0]:.0f} thousand padded "
        f"tokens and the other side {rates[1]:.0f} thousand, with the same Keras layers, "
        "so that a registered model needs nothing else.",
    )


def ours(declared: Declared, corpus: Path, tokens: Path, count: int) -> Turn:
    """Reviews per second, from text to probability, with a released package."""
    from pipelines.serving.package import write_package
    from pipelines.serving.predictor import Predictor

    with tempfile.TemporaryDirectory() as folder:
        model = _model(declared, tokens, Path(folder))
        write_package(
            Path(folder) / "package",
            model,
            artifact(tokens),
            pipeline="imdb",
            labels=("negative", "positive"),
            sample=False,
            measured={},
        )
        predictor = Predictor.load(Path(folder) / "package")
    documents = texts(corpus, "test", count)[0]
    predictor.predict(documents[: count // 10])  # traces
    return lambda: len(documents) / timed(lambda: predictor.predict(documents))


def _model(declared: Declared, tokens: Path, folder: Path) -> Artifact:
    """A model artifact like that of the training stage, but untrained."""
    from pipelines.model.backend import load_keras
    from pipelines.model.keras_file import save_model
    from pipelines.model.network import build_model
    from pipelines.tokens.vocabulary import Vocabulary, folder_digest

    spec, vocabulary = load_spec(*declared), tokens / "vocabulary"
    load_keras("tensorflow")
    size = Vocabulary.load(vocabulary).size
    save_model(build_model(spec.model, size), folder / "model.keras")
    (folder / "model.json").write_text(
        json.dumps(
            {
                "model": spec.model.model_dump(mode="json"),
                "vocabulary_size": size,
                "vocabulary_digest": folder_digest(vocabulary),
            }
        )
    )
    return Artifact("model", "", folder, {"config": {"training.backend": "tensorflow"}})


def _slots(tokens: Path, count: int) -> tuple[int, int]:
    """Padded tokens of the reviews: as in `predict`, and all as long as the longest."""
    import pyarrow.parquet as pq

    shards = sorted((tokens / "tokens").glob("test-*.parquet"))
    lengths = pq.read_table(shards, columns=["length"])["length"].to_pylist()[:count]
    groups = [lengths[i : i + GROUP_TEXTS] for i in range(0, count, GROUP_TEXTS)]
    rows = (
        [np.empty(group[i]) for i in some] for group in groups for some in rows_by_length(group)
    )
    return sum(model_inputs(some, 0)[0].size for some in rows), count * max(lengths)


def keras_predict(declared: Declared, corpus: Path, tokens: Path, count: int) -> Turn:
    """Reviews per second of `predict` on ids in one array."""
    import keras

    from benchmarks import notebook
    from pipelines.tokens.vocabulary import Vocabulary

    vocabulary = Vocabulary.load(tokens / "vocabulary")
    flat, edges = vocabulary.encode_all(texts(corpus, "test", count)[0])
    width, rows = int(np.diff(edges).max()), min(THEIRS, count)
    ids = [flat[edges[i] : edges[i + 1]] for i in range(rows)]
    padded = keras.utils.pad_sequences(ids, maxlen=width, padding="post")
    model = notebook.model(vocabulary.size)
    model.predict(padded[:MAX_ROWS], batch_size=MAX_ROWS, verbose=0)
    return lambda: rows / timed(lambda: model.predict(padded, batch_size=MAX_ROWS, verbose=0))
