"""IMDb from the archive to batches on disk: Folio against the notebooks' way, in one run.

    python -m benchmarks.prepare --mirror DIR

The notebooks' way, written as the book writes it: a Counter over tfds' Tokenizer for the
vocabulary, then one `tf.py_function` a review to encode it, batches of 32 padded in file order.
It is timed on `--reviews` of them and given per review, since it is the same work for each.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from pipelines.execute import Settings
from pipelines.fingerprint import library_version
from pipelines.plan import Selection
from pipelines.retraining import retrain_plain

DATA_STAGES = Selection(stages=("source", "corpus", "tokens", "batches"))


def ours(mirror: str, home: Path) -> dict:
    """The record of one run of the four data stages in a new home."""
    settings = Settings.at(home, mirror=mirror)
    return retrain_plain("imdb", settings=settings, selection=DATA_STAGES,
                         notice=lambda text: None)


def peak_bytes(record: dict, settings: Settings) -> int:
    return max(settings.store.find(entry["stage"], entry["key"]).manifest["peak_memory_bytes"]
               for entry in record["stages"])


def notebook(texts: list[str], labels: list[int]) -> tuple[float, float]:
    """Seconds for the vocabulary and for one epoch of encoded, padded batches."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    started = time.perf_counter()
    tokenizer, counts = tfds.deprecated.text.Tokenizer(), Counter()
    dataset = tf.data.Dataset.from_tensor_slices((texts, tf.constant(labels, tf.int64)))
    for text, _ in dataset:
        counts.update(tokenizer.tokenize(text.numpy()))
    encoder = tfds.deprecated.text.TokenTextEncoder(list(counts))
    middle = time.perf_counter()

    def encode(text: tf.Tensor, label: tf.Tensor) -> tuple:
        return encoder.encode(text.numpy()), label

    def encoded(text: tf.Tensor, label: tf.Tensor) -> tuple:
        return tf.py_function(encode, [text, label], (tf.int64, tf.int64))

    batches = dataset.map(encoded).padded_batch(32, padded_shapes=([-1], []))
    slots = sum(int(tf.size(tokens)) for tokens, _ in batches)
    assert slots
    return middle - started, time.perf_counter() - middle


def folio_seconds(*arguments: str) -> float:
    folio = Path(sys.executable).with_name("folio")
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([folio, *arguments], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirror", required=True, help="a folder with aclImdb_v1.tar.gz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reviews", type=int, default=3200)
    options = parser.parse_args()
    import pyarrow.parquet as pq

    mine, theirs, peak = [], [], 0
    for _ in range(options.rounds):  # in turn, so that a busy moment hits both
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings.at(Path(folder))
            record = ours(options.mirror, Path(folder))
            mine.append(record["seconds"])
            peak = peak or peak_bytes(record, settings)  # before the other side loads TensorFlow
            corpus = next(e["path"] for e in record["stages"] if e["stage"] == "corpus")
            shard = next((Path(corpus) / "documents").glob("train-*.parquet"))
            some = pq.read_table(shard).slice(0, options.reviews)
            theirs.append(notebook(some["text"].to_pylist(),
                                   [int(v) for v in some["label"].to_pylist()]))
    report(mine, theirs, peak, options.reviews)


def report(mine: list[float], theirs: list[tuple[float, float]], peak: int, reviews: int) -> None:
    seconds = statistics.median(mine)
    per_review = statistics.median(sum(pair) for pair in theirs) / reviews
    print(f"machine: {os.cpu_count()} cores, {platform.machine()}, Python "
          f"{platform.python_version()}, polars {library_version('polars')}, pyarrow "
          f"{library_version('pyarrow')}, tensorflow {library_version('tensorflow')}")
    print(f"archive → corpus → tokens → batches, 50,000 reviews: {seconds:.1f} s "
          f"(median of {len(mine)}), peak memory {peak / 1e6:,.0f} MB")
    print(f"the notebooks' way, vocabulary and one epoch of batches: {50_000 * per_review:.0f} s "
          f"for as many (from {reviews:,}); ratio {50_000 * per_review / seconds:.1f}")
    print(f"folio --help {folio_seconds('--help'):.2f} s · "
          f"folio plan imdb {folio_seconds('plan', 'imdb'):.2f} s (median of 5)")


if __name__ == "__main__":
    main()
