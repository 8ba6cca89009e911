"""Everything that is wrong with a declared source at once: what stops a run, what is left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from pipelines.corpus.class_numbers import by_label
from pipelines.corpus.division.splits import CUT, Assignment
from pipelines.corpus.stage import Divided, divide, empty
from pipelines.declaration.data_sections import ALL_SPLITS, SPLITS, TEST, TRAIN, VALIDATION
from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError
from pipelines.readers.documents import Notes
from pipelines.store.artifacts import Artifact, Progress, Workspace
from pipelines.tokens.words import split_words

EXAMPLES = 3
EXCERPT = 60  # characters
FEW = 10  # texts of a label in train
ADVICE = {
    "empty": "texts without a letter",
    "no-label": "labels that are not declared, or missing",
    "duplicate": "texts that equal an earlier one",
    "duplicate-of-test": "texts of train or validation that equal one of test",
}
DIGITS = re.compile(r"\d[\d,.]*")


@dataclass
class Finding:
    """One kind of fault or loss. `stops` says whether it would stop the run."""

    what: str
    text: str
    count: int = 1
    stops: bool = False
    examples: list[str] = field(default_factory=list)


@dataclass
class Report:
    documents: int
    splits: dict[str, int]
    labels: dict[str, dict[str, int]]  # {label: {split: documents}}
    findings: list[Finding]

    @property
    def usable(self) -> bool:
        return not any(finding.stops for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        found = {"usable": self.usable, "documents": self.documents, "splits": self.splits}
        return found | {"labels": self.labels, "findings": list(map(asdict, self.findings))}


def check(source: Artifact, spec: Spec, scratch: Path, progress: Progress) -> Report:
    """Reads and divides the source as the corpus stage does. Writes only into `scratch`."""
    empty(scratch)  # of an earlier check
    faults = Faults()
    notes = Notes(on_error=faults.add)
    work = Workspace(scratch, scratch, scratch, progress)
    seed = spec.select(("corpus", "seed"))["seed"]
    try:
        divided = divide(source, spec.corpus, seed, notes, work, spec.code_folder)
    except FolioError as error:
        faults.add(error)
        return Report(0, {}, {}, faults.findings())
    labels = _labels(divided) if spec.corpus.labelled else {}
    findings = [
        *faults.findings(),
        *_quarantined(divided),
        *_of_labels(divided, notes, labels),
        *_cut(divided, spec),
        *_noted(notes),
    ]
    fates = divided.assignment.fates.counts()
    fates.update(piece[0] for cut in divided.assignment.cuts.values() for piece in cut)
    splits = {split: fates[split] for split in ALL_SPLITS if fates[split]}
    return Report(len(divided.listing), splits, labels, findings)


class Faults:
    """Errors that would stop the run, by kind: those that differ in numbers alone are one kind."""

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def add(self, error: FolioError) -> None:
        text = str(error)
        kind = DIGITS.sub("0", text)
        if kind not in self._found:
            self._found[kind] = Finding("error", text, 0, stops=True)
        found = self._found[kind]
        if text not in found.examples:  # the same check may be made twice
            found.count += 1
            found.examples += [text] if len(found.examples) < EXAMPLES else []

    def findings(self) -> list[Finding]:
        return list(self._found.values())


def _quarantined(divided: Divided) -> Iterator[Finding]:
    """A finding for each reason, with the first documents."""
    reasons = divided.assignment.reasons
    examples = _examples(divided, reasons) if reasons else {}
    for why, number in sorted(reasons.items()):
        text = ADVICE.get(why, why.replace("-", " "))
        yield Finding(why, f"{text}: quarantined", number, examples=examples[why])


def _examples(divided: Divided, reasons: Counter[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {why: [] for why in reasons}
    fates, at = divided.assignment.fates, 0
    for batch in divided.texts.batches():
        for index in range(batch.num_rows):
            listed = found.get(fates[at + index] or "")
            if listed is not None and len(listed) < EXAMPLES:
                text = " ".join(batch["text"][index].as_py()[: 4 * EXCERPT].split())
                listed.append(f"{batch['id'][index].as_py()}: {text[:EXCERPT]}".rstrip(": "))
        at += batch.num_rows
    return found


def _labels(divided: Divided) -> dict[str, dict[str, int]]:
    """{label: {split: documents}}"""
    labels, fates = divided.listing.labels, divided.assignment.fates
    numbers = {
        split: by_label(labels[fates.among(split)], len(divided.labels)).tolist()
        for split in SPLITS
    }
    return {
        label: {split: numbers[split][number] for split in SPLITS}
        for number, label in enumerate(divided.labels)
    }


def _of_labels(
    divided: Divided, notes: Notes, labels: dict[str, dict[str, int]]
) -> Iterator[Finding]:
    if notes.other_labels:
        listed = [f"{label!r} {number:,}" for label, number in notes.other_labels.most_common()]
        text = "labels that are not in corpus.labels; their texts are quarantined"
        yield Finding("label-not-declared", text, notes.other_labels.total(), examples=listed)
    few = [f"{label} {found[TRAIN]:,}" for label, found in labels.items() if found[TRAIN] < FEW]
    if few:
        text = f"labels with fewer than {FEW} texts in train can hardly be learned"
        yield Finding("label-rare", text, len(few), examples=few[:EXAMPLES])
    for split in (VALIDATION, TEST):
        without = [label for label, found in labels.items() if not found[split]]
        if without and _has(divided.assignment, split):
            text = f"labels without a text in {split} are not measured there"
            yield Finding(f"label-not-in-{split}", text, len(without), examples=without[:EXAMPLES])


def _has(assignment: Assignment, split: str) -> bool:
    return split in assignment.fates


def _cut(divided: Divided, spec: Spec) -> Iterator[Finding]:
    """Texts that are longer than tokens.max_tokens."""
    most = spec.tokens.max_tokens
    if most is None or spec.tokens.kind == "subword":  # its tokens are not known yet
        return
    kept = divided.assignment.fates.among(*ALL_SPLITS, CUT)
    lengths = np.concatenate([np.zeros(0, np.int64), *_lengths(divided, spec)])[kept]
    longer = int((lengths > most).sum())
    if longer:
        share = longer / max(len(lengths), 1)
        text = (
            f"texts ({share:.1%}) with more than tokens.max_tokens {most}: their "
            f"{spec.tokens.keep} {most} tokens are read; half have at most "
            f"{int(np.median(lengths))}, the longest {int(lengths.max())}"
        )
        yield Finding("cut-to-max-tokens", text, longer)


def _lengths(divided: Divided, spec: Spec) -> Iterator[np.ndarray]:
    tokens = spec.tokens
    if tokens.kind == "char":
        yield divided.listing.characters
        return
    for batch in divided.texts.batches(["text"]):
        words = split_words(pl.Series("text", batch["text"]), tokens.lower, tokens.words)
        yield words.list.len().to_numpy().astype(np.int64)


def _noted(notes: Notes) -> Iterator[Finding]:
    """What the reader counted besides documents."""
    for what, number in sorted((+notes.ignored).items()):
        yield Finding("ignored", f"{what}: not read", number)
    for what, number in sorted(notes.left_out.items()):
        yield Finding("left-out", f"{what}: left out, as declared", number)
    if notes.short_rows:
        text = "rows with fewer fields than there are columns; the rest is taken as empty"
        yield Finding("short-rows", text, notes.short_rows)
    if notes.doubts:
        text = "lines like those of a licence frame, with text beside them that is kept"
        yield Finding("frame-in-doubt", text, len(notes.doubts), examples=notes.doubts[:EXAMPLES])
