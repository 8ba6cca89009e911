"""Brings champion and challenger to the same test text, so that they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.declaration.spec import RegistrySpec
from pipelines.errors import FolioError
from pipelines.files.digests import digest_json
from pipelines.files.small_files import read_object
from pipelines.metrics.segments import SEGMENTS
from pipelines.release.evidence import (
    DOCUMENTS,
    SEGMENTS_OF_TEXT,
    Evidence,
    classifier_evidence,
    text_evidence,
)
from pipelines.release.exposure import seen_documents, seen_segments
from pipelines.store.artifacts import Artifact, Store

PREDICTIONS = "predictions.parquet"
# If the shares of unknown tokens differ by more, language models are not comparable: an unknown
# word costs far less than its spelling would.
UNKNOWN_TOLERANCE = 0.001
FEWEST_FRESH = 30  # documents or segments that the champion has not seen; fewer are not meaningful
MOST_NAMED = 3  # labels in a sentence
UNITS = {"classifier": DOCUMENTS, "language_model": SEGMENTS_OF_TEXT}


def held_out_digest(corpus: Mapping[str, Any]) -> str:
    """What identifies the test documents, ids, texts and labels; from the corpus' manifest."""
    return digest_json(
        {
            name: entry["sha256"]
            for name, entry in corpus["files"].items()
            if name.startswith("documents/test-")
        }
    )


@dataclass(frozen=True)
class Challenger:
    """What describes a new model: its artifacts or their folders, the digest of its test documents,
    the batch size, a classifier's labels, and the threads that measured it. `store` may have the
    champion's artifacts."""

    metrics: Path
    corpus: Artifact
    tokens: Path
    held_out: str
    batch_size: int
    labels: tuple[str, ...]
    store: Store = field(compare=False)
    threads: int | None = None

    def evidence(
        self, champion: Mapping[str, str], find_package: Callable[[], Path], spec: RegistrySpec
    ) -> Evidence | str:
        """The comparison, or why it is impossible. `champion` has the tags of that version;
        `find_package` returns the folder of its package, or raises FolioError."""
        try:
            package = find_package()
            unfair = self._unfair(package)
            if unfair:
                return unfair
            old, new, rescored, left_out = self._recorded(champion), self._table, False, 0
            if old is None:
                rescored, fresh = True, ~self._seen(champion)
                left_out = int((~fresh).sum())
                if fresh.sum() < FEWEST_FRESH:
                    return (
                        f"it was trained on {left_out:,} of the {len(fresh):,} {UNITS[self.kind]}"
                    )
                old, new = (
                    table.filter(pa.array(fresh)) for table in (self._rescored(package), new)
                )
        except FolioError as error:
            return f"it cannot be scored ({error})"
        compared = classifier_evidence if self.kind == "classifier" else self._texts
        found = compared(old, new, spec.metric, spec.confidence)
        if isinstance(found, str):
            return found
        if found.metric != spec.metric and spec.margin:
            return (
                f"its tokens are different, so {spec.metric}, and with it the margin of "
                f"{spec.margin:g}, has another meaning"
            )
        return replace(found, rescored=rescored, left_out=left_out)

    @property
    def kind(self) -> str:
        return self._metrics["kind"]

    @cached_property
    def _metrics(self) -> dict[str, Any]:
        return _read(self.metrics / "metrics.json", kind=str)

    @property
    def _file(self) -> str:
        return PREDICTIONS if self.kind == "classifier" else SEGMENTS

    @cached_property
    def _table(self) -> pa.Table:
        return pq.read_table(self.metrics / self._file)

    def _recorded(self, champion: Mapping[str, str]) -> pa.Table | None:
        """The champion's own evaluation, if it used exactly these test documents and still
        exists."""
        if champion.get("folio.test.digest") != self.held_out:
            return None
        artifact = self.store.find("metrics", champion.get("folio.metrics.key", ""))
        if (
            artifact is None
            or self._file not in artifact.manifest["files"]
            or self.store.damage(artifact)
        ):
            return None
        table = pq.read_table(artifact.path / self._file)  # earlier versions recorded less
        return table if set(self._table.column_names) <= set(table.column_names) else None

    def _seen(self, champion: Mapping[str, str]) -> np.ndarray:
        """(rows of the table,) bool: the documents used in the champion's training or
        validation."""
        corpus = self.store.find("corpus", champion.get("folio.corpus.key", ""))
        if corpus is None:
            raise FolioError(
                "the test documents have changed, and its training text is no longer in "
                "the store, so it may have seen the new ones"
            )
        documents = self.corpus.table("documents/test-", ["id", "text"])
        if self.kind == "classifier":
            documents = documents.sort_by("id")
            return seen_documents(documents["text"].to_pylist(), corpus)
        return seen_segments(documents["text"].to_pylist(), corpus)

    def _rescored(self, package: Path) -> pa.Table:
        from pipelines.release.rescoring import rescored

        return rescored(package, self.corpus, self.batch_size, self.threads)

    def _unfair(self, package: Path) -> str | None:
        """Why the champion in `package` solves another task, regardless of its figures."""
        settings = _read(package / "package.json", kind=str, labels=list)
        if settings["kind"] != self.kind:
            return f"it is a {settings['kind'].replace('_', ' ')}"
        if self.kind == "classifier":
            own = tuple(map(str, settings["labels"]))
            return None if own == self.labels else _other_labels(own, self.labels)
        old, new = (
            _read(folder / "vocabulary" / "settings.json", kind=str, lower=bool, words=str)
            for folder in (package, self.tokens)
        )
        if old["lower"] != new["lower"]:
            return "one of the two reads lower-case text, which is easier"
        if "word" in (old["kind"], new["kind"]) and (old["kind"], old["words"]) != (
            new["kind"],
            new["words"],
        ):
            return (
                "one of the two predicts words without the punctuation between them, which "
                "is easier"
            )
        return None

    def _texts(
        self, old: pa.Table, new: pa.Table, metric: str, confidence: float
    ) -> Evidence | str:
        known = [
            pc.sum(table["unknown"]).as_py() / pc.sum(table["tokens"]).as_py()
            for table in (old, new)
        ]
        if abs(known[0] - known[1]) > UNKNOWN_TOLERANCE:
            return (
                f"{known[0]:.2%} of the test text's tokens are unknown to it and "
                f"{known[1]:.2%} to the new model, and unknown tokens cost little"
            )
        return text_evidence(old, new, metric, confidence)


def _other_labels(old: tuple[str, ...], new: tuple[str, ...]) -> str:
    if len(old) == 2:
        return f"it distinguishes {' from '.join(old)}"
    if sorted(old) == sorted(new):
        return "its labels have another order"
    changes = [
        f"{what} {', '.join(map(repr, names[:MOST_NAMED]))}{', …' if names[MOST_NAMED:] else ''}"
        for what, names in (
            ("knows no", [label for label in new if label not in old]),
            ("also knows", [label for label in old if label not in new]),
        )
        if names
    ]
    return f"it {' and '.join(changes)}"


def _read(path: Path, **keys: type) -> dict[str, Any]:
    try:
        return read_object(path, **keys)
    except FileNotFoundError as error:
        raise FolioError(f"{path}: is missing") from error
