"""Scores a file of texts with a classifier: all its columns and the predictions, and a summary.

scored.parquet        every row of the file, in its order, with the predictions
scored.parquet.json   counts, the version used, whether the text has drifted

Both are written to temporary files and renamed when they are complete. Memory holds a window of
rows, not the whole file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipelines.errors import FolioError, UsageError, readable
from pipelines.files.digests import digest_file
from pipelines.files.whole_files import replacing, write_json
from pipelines.registry.lookup import named_version
from pipelines.registry.versions import Version
from pipelines.serving.answers import of_each
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import package_of
from pipelines.serving.score_input import CSV, PARQUET, Source, Window, open_source
from pipelines.serving.spreadsheet import harmless
from pipelines.serving.text_statistics import TextStatistics, compared, read_statistics
from pipelines.store.artifacts import Progress, silent
from pipelines.store.times import utc

ALWAYS = {"label": pa.string(), "probability": pa.float64(), "error": pa.string()}


@dataclass(frozen=True)
class Classifier:
    """A registered classifier, loaded."""

    version: Version
    package: Path
    predictor: Predictor

    @classmethod
    def load(cls, home: Path, name: str, version: int | None = None) -> Classifier:
        """The champion, or a version. Raises FolioError if there is none, UsageError if it is not a
        classifier."""
        found = named_version(home, name, version)
        package = package_of(home, found)
        predictor = Predictor.load(package)
        if predictor.kind != "classifier":
            raise UsageError(
                f"{name} is a language model and cannot label the texts of a file; use it "
                "with folio predict or folio generate"
            )
        return cls(found, package, predictor)

    @property
    def name(self) -> str:
        return self.version.name

    @property
    def identity(self) -> dict[str, Any]:
        """The part of a summary that identifies the model."""
        return identity_of(self.version)


def identity_of(version: Version) -> dict[str, Any]:
    return {
        "model": version.name,
        "version": version.number,
        "package": version.tags.get("folio.package"),
    }


@dataclass(frozen=True)
class Order:
    """What to score, and where to write. `prefix` is put before the added columns' names; `force`
    replaces an existing `out`; `spreadsheet_safe` prevents formulas in a .csv output; `every` adds
    a column for each label; `delimiter` and `encoding` of a .csv file are found if not given."""

    file: Path
    out: Path
    column: str | None = None
    prefix: str = ""
    force: bool = False
    spreadsheet_safe: bool = False
    every: bool = False
    delimiter: str | None = None
    encoding: str | None = None

    @property
    def summary(self) -> Path:
        return self.out.with_name(f"{self.out.name}.json")

    @property
    def asked(self) -> dict[str, Any]:
        """The part of a summary that describes the request."""
        return {
            "asked_column": self.column,
            "prefix": self.prefix,
            "spreadsheet_safe": self.spreadsheet_safe,
            **({"every": True} if self.every else {}),
            **({"delimiter": self.delimiter} if self.delimiter else {}),
            **({"encoding": self.encoding} if self.encoding else {}),
        }

    def added(self, labels: Sequence[str] = ()) -> pa.Schema:
        """The columns of the predictions; without `labels`, those that every classifier adds."""
        columns = dict(ALWAYS)
        if len(labels) == 2:
            error = columns.pop("error")
            columns |= {"positive_probability": pa.float64(), "error": error}
        if self.every:
            columns |= {f"probability_{label}": pa.float64() for label in labels}
        return pa.schema([(self.prefix + name, kind) for name, kind in columns.items()])


def score_file(classifier: Classifier, order: Order, progress: Progress = silent) -> dict[str, Any]:
    """Score a file. Returns the summary.

    Raises UsageError before anything is written if the file cannot be read or `out` cannot be
    written as requested, FolioError if the file is malformed further on; no output is left then.
    """
    started = time.perf_counter()
    digest = digest_of(order.file)
    source, schema = check(order, classifier.predictor.labels)
    trained = read_statistics(classifier.package)
    counts = _Counts(TextStatistics(classifier.predictor.vocabulary.unknown_id))
    with _whole(order.out) as partial, _writer(partial, order, schema) as write:
        for window in source.windows():
            write(_judged(classifier.predictor, window, schema, counts, order.every))
            progress(window.done, window.total, f"{window.unit} · {counts.rows:,} texts scored")
    summary = _summary(classifier, order, source, counts, trained) | {
        "file_sha256": digest,
        "out_sha256": digest_file(order.out),
        "seconds": round(time.perf_counter() - started, 3),
        "created": utc(time.time()),
    }
    write_json(order.summary, summary)
    return summary


def digest_of(file: Path) -> str | None:
    """SHA-256 of a file; None if it cannot be read, which `open_source` reports better."""
    try:
        return digest_file(file)
    except OSError:
        return None


def check(order: Order, labels: Sequence[str] = ()) -> tuple[Source, pa.Schema]:
    """The open file and the columns to write; raises the errors of `score_file` for an invalid
    request, before the seconds that loading a model takes."""
    _check_target(order)
    source = open_source(order.file, order.column, order.delimiter, order.encoding)
    return source, _with_answers(source, order, order.added(labels))


@dataclass
class _Counts:
    statistics: TextStatistics
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)


def _judged(
    predictor: Predictor, window: Window, schema: pa.Schema, counts: _Counts, every: bool
) -> pa.Table:
    answers, labels = predictor.judged(window.texts, counts.statistics.see_texts), predictor.labels
    counts.rows += len(answers)
    counts.errors.update(row["error"] for row in answers if row.get("error"))
    counts.labels.update(row["label"] for row in answers if row["label"])
    score = "positive_probability" if len(labels) == 2 else "probability"
    counts.statistics.see_scores(
        np.array([row[score] for row in answers if row["label"]], np.float64)
    )
    more = ["positive_probability"] if len(labels) == 2 else []
    names = ["label", "probability", *more, "error"]
    added = [[row.get(name) for row in answers] for name in names]
    if every:
        each = [of_each(row, labels) for row in answers]
        added += [[one[number] for one in each] for number in range(len(labels))]
    kinds = schema.types[-len(added) :]
    columns = [pa.array(values, kind) for values, kind in zip(added, kinds, strict=True)]
    return pa.table([*window.table.columns, *columns], schema=schema)


def _check_target(order: Order) -> None:
    out = order.out
    if out.suffix.lower() not in CSV + PARQUET:
        raise UsageError(f"{out}: neither .csv nor .parquet; use one of these endings")
    if order.spreadsheet_safe and out.suffix.lower() not in CSV:
        raise UsageError(
            f"{out}: --spreadsheet-safe needs a .csv file; a .parquet file has no formulas"
        )
    if not out.parent.is_dir():
        raise UsageError(f"{out.parent}: no such folder; create it, or give another --out")
    if out.is_dir() or (out.exists() and order.file.exists() and out.samefile(order.file)):
        raise UsageError(
            f"{out}: {'a folder' if out.is_dir() else 'the file that is scored'}; give "
            "another file as --out"
        )
    taken = next((path for path in (out, order.summary) if path.exists()), None)
    if taken is not None and not order.force:
        raise UsageError(
            f"{taken} already exists; give another file as --out, or --force to replace it"
        )


def _with_answers(source: Source, order: Order, added: pa.Schema) -> pa.Schema:
    taken = [name for name in added.names if name in source.schema.names]
    if taken:
        raise UsageError(
            f"{order.file.name}: already has a column {taken[0]!r}; give the added "
            "columns other names with --prefix, such as --prefix predicted_"
        )
    nested = [column.name for column in source.schema if pa.types.is_nested(column.type)]
    if nested and order.out.suffix.lower() in CSV:
        raise UsageError(
            f"{order.out}: a CSV file cannot contain the lists of column {nested[0]!r}; "
            "give a .parquet file as --out"
        )
    return pa.schema([*source.schema, *added], metadata=source.schema.metadata)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """The path to write to; renamed to `out` at the end, and removed on failure."""
    try:
        with replacing(out) as partial:
            yield partial
    except OSError as error:
        error.filename = error.filename or str(out)  # `refusal_of` names its disk
        raise FolioError(
            f"{out}: {error.strerror or error}; nothing was written. Fix this (free "
            "space, permissions) and run again"
        ) from error


@contextmanager
def _writer(path: Path, order: Order, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    if order.spreadsheet_safe:
        with pa_csv.CSVWriter(path, harmless(schema.empty_table()).schema) as writer:
            yield lambda table: writer.write_table(harmless(table))
    elif order.out.suffix.lower() in CSV:
        with pa_csv.CSVWriter(path, schema) as writer:
            yield writer.write_table
    else:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            yield writer.write_table


def _summary(
    classifier: Classifier,
    order: Order,
    source: Source,
    counts: _Counts,
    trained: TextStatistics | None,
) -> dict[str, Any]:
    labels = classifier.predictor.labels
    counts.statistics.labels = np.array([counts.labels[name] for name in labels])
    measured = compared(trained, counts.statistics, labels) if trained else None
    drift = (
        None
        if measured is None
        else {
            "version": classifier.version.number,
            "same_text": False,
            "measures": measured,
            "drifted": [one["measure"] for one in measured if one["drifted"]],
        }
    )
    return (
        classifier.identity
        | order.asked
        | {
            "sample": classifier.predictor.sample,
            "file": readable(str(order.file)),
            "out": str(order.out),
            "column": source.column,
            "rows": counts.rows,
            "scored": counts.labels.total(),
            "labels": {name: counts.labels[name] for name in labels},
            "errors": dict(counts.errors.most_common()),
            "drift": drift,
        }
    )
