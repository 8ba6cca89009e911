"""IMDb from the archive to tokens to padded batches, all 50,000 labelled reviews, no truncation."""

from __future__ import annotations

import importlib.util
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks import notebook
from benchmarks.data import imdb, made, quiet, texts
from benchmarks.harness import Conditions, Side, Turn, apart, take_turns, timed
from benchmarks.results import OF_LIMIT, Row, skipped
from pipelines.run.options import Selection
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings

TITLE = "IMDb archive to batches"
SAMPLE = 1600  # reviews that the notebook's code is timed on
TRAIN_SHARE = 0.4  # 20,000 of the 50,000: those that the vocabulary is built from
WORDS = r"\w+"
PROFILE = (
    "By profile, on a busy machine: reading 100,000 members takes 2.5 s of one core in "
    "Python: white space and SHA-256 of each text 0.7 s, tar headers 0.35 s, the rest is "
    "choosing, decoding, cleaning and listing; decompressing runs beside it. Sketching and "
    "comparing take 1.4 s of CPU, counting words 0.8 s, encoding them 1.5 s. Tried without a "
    "gain: 500 headers at a time with NumPy, white space with NumPy or Polars."
)


def compare(conditions: Conditions) -> Iterator[Row]:
    place = made(conditions, imdb(conditions))
    documents, labels = apart(_sample, place["corpus"], SAMPLE // (10 if conditions.quick else 1))
    count = sum(apart(_documents, place["corpus"]))
    sides = {
        "ours": Side(ours, (conditions,)),
        "notebook": Side(notebooks_way, (place["source"], documents, labels, count)),
        "limit": Side(compiled_work, (place["source"], place["corpus"])),
    }
    if has_tokenizers := importlib.util.find_spec("tokenizers") is not None:
        sides["tokenizers"] = Side(tokenizers_way, (place["source"], place["corpus"]))
    found = take_turns(sides, conditions.repeats)
    mine = found["ours"]
    yield Row.times(
        "prep/notebook",
        TITLE,
        "py_function per review",
        mine,
        found["notebook"],
        "s",
        None,
        "The other side reads the archive with tarfile, builds the vocabulary from "
        f"{TRAIN_SHARE:.0%} of the reviews and encodes all of them once, in memory, "
        f"scaled up from {len(documents):,} reviews (the notebook encodes them again in "
        "each epoch). Folio also writes Parquet, hashes it and checks it. "
        f"{_bounds(conditions)} At the machine's limit (see prep/limit), a program is "
        f"{found['notebook'].median / found['limit'].median:.1f} times as fast.",
    )
    against = "Hugging Face tokenizers, numpy padding"
    if has_tokenizers:
        yield Row.times(
            "prep/tokenizers",
            TITLE,
            against,
            mine,
            found["tokenizers"],
            "s",
            2.5,
            "The other side reads the archive with tarfile, trains WordLevel on "
            f"{TRAIN_SHARE:.0%} of the reviews, encodes all of them on all cores and pads "
            "batches of 32 in memory; peak memory "
            f"{found['tokenizers'].peak_bytes / 1e9:.2f} GB. It does not look for "
            "duplicates and near-duplicates, does not split off validation, and writes "
            "nothing. At the machine's limit, a program is "
            f"{found['tokenizers'].median / found['limit'].median:.1f} times as fast.",
        )
    else:
        yield skipped(
            "prep/tokenizers",
            TITLE,
            against,
            "tokenizers is not installed (pip install tokenizers)",
        )
    yield Row.times(
        "prep/limit",
        TITLE,
        "the machine's limit",
        mine,
        found["limit"],
        "s",
        OF_LIMIT,
        "Only the compiled parts, on both cores, from texts in memory: decompressing the "
        "archive, finding, counting and encoding all words once, writing texts and ids "
        f"to Parquet. No classifying, cleaning, hashing, comparing or padding of files. {PROFILE}",
    )
    yield Row.within(
        "prep/memory", f"{TITLE}: peak memory", mine.peak_bytes / 1e9, "GB", 1, len(mine.values)
    )


def ours(conditions: Conditions, *overrides: str) -> Turn:
    """Seconds of the four data stages in a new home."""
    import polars  # noqa: F401
    import pyarrow.parquet  # noqa: F401

    return lambda: sum(stage_seconds(conditions, *overrides).values())


def stage_seconds(conditions: Conditions, *overrides: str) -> dict[str, float]:
    """The seconds of each data stage in a new home, including the checks between them."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.at(Path(folder), mirror=conditions.mirror)
        record = retrain_plain(
            *imdb(conditions, *overrides),
            settings=settings,
            selection=Selection.of(until="batches"),
            notice=quiet,
        )
        return {entry["stage"]: entry["seconds"] for entry in record["stages"]}


def compiled_work(source: Path, corpus: Path) -> Turn:
    """Seconds that libraries take for the unavoidable work, without Python between their calls."""
    import polars as pl

    from pipelines.tokens.words import split_words

    documents, archive = pl.Series("text", texts(corpus, "*")[0]), _archive(source)
    zipped = archive.read_bytes() if archive else b""

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
            inflated = pool.submit(zlib.decompress, zipped, 31) if zipped else None
            words = split_words(documents, lower=False)
            known = words.explode(empty_as_null=False).value_counts(sort=True)["text"]
            ids = words.list.eval(pl.element().cast(pl.Enum(known)).to_physical())
            for name, column in (("texts", documents), ("ids", ids)):
                column.to_frame().write_parquet(Path(folder) / name, compression="zstd")
            if inflated:
                inflated.result()

    return lambda: timed(work)


def notebooks_way(source: Path, documents: list[str], labels: list[int], count: int) -> Turn:
    """Seconds for `count` reviews, from a measurement on `documents`."""
    import tensorflow  # noqa: F401

    def turn() -> float:
        started = time.perf_counter()
        for _ in archived(source):
            pass
        read = time.perf_counter()
        encoder = notebook.vocabulary(documents)
        counted = time.perf_counter()
        for tokens, _ in notebook.batches(documents, labels, encoder):
            tokens.numpy()
        encoded = time.perf_counter() - counted
        scale = count / len(documents)
        return read - started + scale * (TRAIN_SHARE * (counted - read) + encoded)

    turn()  # traces, and warms up
    return turn


def tokenizers_way(source: Path, corpus: Path) -> Turn:
    """Seconds until the last padded batch, including a new vocabulary."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    fixed = [] if _archive(source) else texts(corpus, "*")[0]

    def turn() -> float:
        started = time.perf_counter()
        documents = [data.decode() for data in archived(source)] or fixed
        tokenizer = Tokenizer(models.WordLevel(unk_token="<unknown>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORDS), "removed", invert=True)
        tokenizer.train_from_iterator(
            documents[: int(TRAIN_SHARE * len(documents))],
            trainers.WordLevelTrainer(
                vocab_size=10**6, special_tokens=["<pad>", "<unknown>"], show_progress=False
            ),
        )
        for first in range(0, len(documents), 1024):
            rows = [
                found.ids for found in tokenizer.encode_batch_fast(documents[first : first + 1024])
            ]
            for at in range(0, len(rows), notebook.BATCH):
                _padded(rows[at : at + notebook.BATCH])
        return time.perf_counter() - started

    return turn


def _padded(rows: list[list[int]]) -> np.ndarray:
    batch = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, ids in zip(batch, rows, strict=True):
        row[: len(ids)] = ids
    return batch


def archived(source: Path) -> Iterator[bytes]:
    """The labelled reviews of an aclImdb archive, read with Python's tarfile."""
    if archive := _archive(source):
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                labelled = "/pos/" in member.name or "/neg/" in member.name
                if labelled and member.isfile() and (file := members.extractfile(member)):
                    yield file.read()


def _archive(source: Path) -> Path | None:
    return next(source.rglob("*.tar.gz"), None)


def _sample(corpus: Path, count: int) -> tuple[list[str], list[int]]:
    return texts(corpus, "train", count)


def _documents(corpus: Path) -> list[int]:
    import pyarrow.parquet as pq

    return [pq.read_metadata(path).num_rows for path in (corpus / "documents").glob("*.parquet")]


def _bounds(conditions: Conditions) -> str:
    """Where the time goes, and the minimum on one core."""
    stages = apart(stage_seconds, conditions)
    spent = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stages.items())
    archive = _archive(made(conditions, imdb(conditions))["source"])
    if archive is None:
        return f"Ours: {spent}."
    return (
        f"Folio, including imports: {spent}; decompressing the archive alone takes "
        f"{apart(_inflating, archive):.1f} s of one core."
    )


def _inflating(archive: Path) -> float:
    data = archive.read_bytes()
    return timed(lambda: zlib.decompress(data, 31))
