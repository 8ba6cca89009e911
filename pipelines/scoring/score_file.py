"""Scores a file of texts with a model: all its columns and the answers, and a summary.

scored.parquet        every row of the file, in its order, with the model's answers
scored.parquet.json   counts, the version used, whether the text has drifted

Both are written to drafts and renamed when they are complete. Memory holds a window of rows, not
the whole file.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from pipelines.errors import FolioError, UsageError, readable
from pipelines.files.digests import digest_file
from pipelines.files.drafts import drafted, sweep
from pipelines.registry.lookup import named_version
from pipelines.registry.versions import Version
from pipelines.scoring.score_input import CSV, Source, open_source
from pipelines.scoring.score_order import Order
from pipelines.scoring.score_rows import ScoredRows, added_columns, scored_rows
from pipelines.scoring.spreadsheet import harmless
from pipelines.serving.batching import characters_of
from pipelines.serving.package import Package, complete
from pipelines.serving.predictor import NUMPY, Predictor
from pipelines.serving.registered import package_of
from pipelines.serving.text_statistics import TextStatistics, compared, read_statistics
from pipelines.store.artifacts import Progress, silent
from pipelines.store.times import utc

LIGHT_CHARACTERS = 2**14  # NumPy reads them in about the time that importing Keras takes


@dataclass(frozen=True)
class RegisteredModel:
    """A registered version and its package, whose network is loaded when it is asked."""

    version: Version
    folder: Path
    package: Package
    _loaded: dict[str | None, Predictor] = field(default_factory=dict)

    @classmethod
    def find(cls, home: Path, name: str, version: int | None = None) -> RegisteredModel:
        """The champion, or a version. Raises FolioError if there is none, or it is not intact."""
        found = named_version(home, name, version)
        folder = package_of(home, found)
        with complete(folder):
            return cls(found, folder, Package.read(folder))

    @property
    def name(self) -> str:
        return self.version.name

    @property
    def identity(self) -> dict[str, Any]:
        """The part of a summary that identifies the model."""
        return identity_of(self.version)

    def predictor(self, light: bool = False) -> Predictor:
        """`light`: on NumPy, which answers before Keras is imported, unless that is loaded."""
        backend = NUMPY if light and None not in self._loaded else None
        if backend not in self._loaded:
            with complete(self.folder):
                self._loaded[backend] = Predictor.of(self.package, backend)
        return self._loaded[backend]


def identity_of(version: Version) -> dict[str, Any]:
    return {
        "model": version.name,
        "version": version.number,
        "package": version.tags.get("folio.package"),
    }


def score_file(model: RegisteredModel, order: Order, progress: Progress = silent) -> dict[str, Any]:
    """Score a file. Returns the summary.

    Raises UsageError before anything is written if the file cannot be read or `out` cannot be
    written as requested, FolioError if the file is malformed further on; no output is left then.
    """
    started = time.perf_counter()
    digest = digest_of(order.file)
    source, schema = check(model, order)
    trained = read_statistics(model.folder)
    scored = scored_rows(model.predictor(light=_is_short(source)), order.every)
    with _whole(order.summary) as noted, _whole(order.out) as partial:
        sweep(order.out.parent)
        with _writer(partial, order, schema) as write:
            for window in source.windows():
                write(_with_values(window.table, scored.add(window.texts), schema))
                progress(window.done, window.total, f"{window.unit} · {scored.rows:,} texts scored")
        summary = _summary(model, order, source, scored, trained) | {
            "file_sha256": digest,
            "out_sha256": digest_file(partial),
            "seconds": round(time.perf_counter() - started, 3),
            "created": utc(time.time()),
        }
        text = json.dumps(summary, indent=1, ensure_ascii=False)
        noted.write_text(readable(text, "\\\\"), encoding="utf-8")
    return summary


def digest_of(file: Path) -> str | None:
    """SHA-256 of a file; None if it cannot be read, which `open_source` reports better."""
    try:
        return digest_file(file)
    except OSError:
        return None


def check(model: RegisteredModel, order: Order) -> tuple[Source, pa.Schema]:
    """The open file and the columns to write; raises the errors of `score_file` for an invalid
    request, before the seconds that loading a model takes."""
    order.check_target()
    settings = model.package.settings
    source = open_source(
        order.file, order.column, order.delimiter, order.encoding, settings.text_column
    )
    columns = added_columns(settings, order.every)
    added = pa.schema([(order.prefix + name, kind) for name, kind in columns.items()])
    return source, _with_answers(source, order, added)


def _is_short(source: Source) -> bool:
    """Whether the file is one window of little text."""
    for window in source.windows():
        characters = sum(map(characters_of, window.texts))
        return window.done == window.total and characters <= LIGHT_CHARACTERS
    return True


def _with_values(table: pa.Table, added: list[list[Any]], schema: pa.Schema) -> pa.Table:
    kinds = schema.types[-len(added) :]
    columns = [pa.array(values, kind) for values, kind in zip(added, kinds, strict=True)]
    return pa.table([*table.columns, *columns], schema=schema)


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
        with drafted(out) as partial:
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
    model: RegisteredModel,
    order: Order,
    source: Source,
    scored: ScoredRows,
    trained: TextStatistics | None,
) -> dict[str, Any]:
    settings, drift = model.package.settings, None
    if trained is not None:
        measured = compared(trained, scored.statistics, scored.labels)
        drift = {
            "version": model.version.number,
            "same_text": False,
            "measures": measured,
            "drifted": [one["measure"] for one in measured if one["drifted"]],
        }
    return (
        model.identity
        | order.asked
        | {
            "sample": settings.sample,
            "file": readable(str(order.file)),
            "out": str(order.out),
            "column": source.column,
            "rows": scored.rows,
            **scored.summary(),
            "errors": dict(scored.errors.most_common()),
            "drift": drift,
        }
    )
