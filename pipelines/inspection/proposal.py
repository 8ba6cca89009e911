"""From a path to a declaration that runs as it is."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpus.division.listing import Categories
from pipelines.declaration.catalog import CATALOG, shipped_names
from pipelines.declaration.data_sections import TABLE_READERS
from pipelines.declaration.reading.invalid import slug
from pipelines.declaration.section_base import MOST_LABELS
from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.inspection.choices import MOST_LISTED, Chosen, classifier, language_model
from pipelines.inspection.columns import Columns
from pipelines.inspection.declaration_text import flow, text_of
from pipelines.inspection.material import Material, material_at
from pipelines.inspection.survey import Survey
from pipelines.readers.documents import Notes
from pipelines.readers.read import read
from pipelines.store.artifacts import Progress

FEWEST = 1000  # characters
RARE = 5  # a label of fewer texts may be in one split alone
TEST_PART = re.compile(r"(^|/)test/")
FOLDER_LABELS = ["negative", "positive"]


@dataclass
class Proposal:
    """What was seen, and the declaration that suits it."""

    material: Material
    columns: Columns | None
    survey: Survey
    notes: Notes
    labels: list[str]  # that the model will know
    rare: list[str]  # labels that are left out
    chosen: Chosen

    @classmethod
    def of(cls, path: Path, progress: Progress) -> Proposal:
        """Raises FolioError or UsageError for what cannot be read, or is too little."""
        material = material_at(path)
        columns = Columns.of(material) if material.reader in TABLE_READERS else None
        label = columns.labels[0] if columns and columns.labels else None
        corpus, notes = _corpus(material, columns), Notes(on_error=lambda error: None)
        spec = CorpusSpec(**corpus | {"group": label})  # the label as it is written
        survey = Survey.of(read(material.source, spec, notes), progress)
        _refuse_too_little(path, survey)
        labels, rare = _labels(survey, material)
        if labels:
            if columns:
                corpus |= {"label_column": label}
                listed = rare or len(labels) <= MOST_LISTED  # the rare ones are not to be found
                corpus |= {"labels": labels} if listed else {}
            chosen = classifier(survey, corpus, labels)
        else:
            survey.listing.groups = Categories.none(survey.documents, np.uint32)
            chosen = language_model(survey, corpus)
        return cls(material, columns, survey, notes, labels, rare, chosen)

    @property
    def title(self) -> str:
        """The name of the file or folder, without endings; of a pattern, that of its folder."""
        path = self.material.path
        path = path if path.exists() else self.material.source.path
        file = path.resolve().name
        return (file.partition(".")[0] or file).replace("_", " ")

    @property
    def name(self) -> str:
        """The pipeline's; not that of one in the catalog."""
        name = slug(self.title)
        return f"my-{name}" if name in shipped_names() else name

    def seen(self) -> dict[str, Any]:
        found = {
            "path": str(self.material.path),
            "reader": self.material.reader,
            "files": len(self.material.names),
            "bytes": self.material.size,
            "encoding": self.material.encoding or "utf-8",
            "delimiter": self.material.delimiter,
            "columns": [one.as_json() for one in self.columns.every] if self.columns else None,
        }
        return found | self.survey.as_json(self.notes) | {"labels": self._counts()}

    def _counts(self) -> dict[str, int]:
        """The texts of each label, the most frequent first."""
        if self.columns:
            return dict(self.survey.labels.most_common())
        labels = self.survey.listing.labels
        numbers = labels[~np.isnan(labels)].astype(np.int64)
        found = Counter(dict(enumerate(np.bincount(numbers).tolist())))
        return {self.labels[number]: count for number, count in (+found).most_common()}

    def text(self, file: Path) -> str:
        """The declaration, as `file` will hold it."""
        beside = (file.parent / "schema.json").exists()
        schema = "schema.json" if beside else CATALOG / "schema.json"
        head = [
            f"# yaml-language-server: $schema={schema}",
            f"# Written by `folio init`. Try it: folio run {_shown(file)} --profile quick",
        ]
        sections: dict[str, Any] = {"title": self.title}
        sections |= {"source": {"path": _relative(self.material.path, file.parent)}}
        sections |= self.chosen.sections
        profiles = [
            "profiles:",
            "  full: {}                           # the settings above",
            "  quick:                             # a minute or two on 2 cores",
            *(f"    {key}: {flow(value)}" for key, value in self.chosen.quick.items()),
        ]
        return text_of(head, sections, self._why() | self.chosen.why) + "\n".join(profiles) + "\n"

    def _why(self) -> dict[str, str]:
        survey, material = self.survey, self.material
        texts = "1 text" if survey.documents == 1 else f"{survey.documents:,} texts"
        why = {"source.path": f"{texts}, {survey.characters:,} characters"}
        if material.encoding:
            why["corpus.encoding"] = "found; check some texts"
        if material.labels:
            why["corpus.labels"] = "the names of the folders"
        if self.columns is None:
            return why
        lengths = {one.name: one.mean for one in self.columns.every}
        mean = lengths[self.columns.text]
        why["corpus.text_column"] = f"the longest texts: {mean:,.0f} characters on average"
        if len(material.names) > 1:
            why["corpus.reader"] = f"{len(material.names):,} files"
        if self.labels:
            why |= self._why_labels()
        elif others := self.columns.labels:
            why["corpus.text_column"] += f"; columns with few values: {', '.join(others[:5])}"
        return why

    def _why_labels(self) -> dict[str, str]:
        assert self.columns
        counts = self.survey.labels
        shown = ", ".join(f"{label} {counts[label]:,}" for label in self.labels[:5])
        more = f" and {len(self.labels) - 5} more" if len(self.labels) > 5 else ""
        column = shown + more
        if others := self.columns.labels[1:6]:
            column += f"; other columns that may be labels: {', '.join(others)}"
        why = {"corpus.label_column": column}
        if self.rare:
            listed = ", ".join(f"{label} {counts[label]}" for label in self.rare[:5])
            why["corpus.labels"] = f"left out, with too few texts: {listed}"
        return why


def _refuse_too_little(path: Path, survey: Survey) -> None:
    if not survey.usable:
        listed = ", ".join(f"{why} {number:,}" for why, number in sorted(survey.reasons.items()))
        raise FolioError(f"{path}: none of {survey.documents:,} texts can be used: {listed}")
    if survey.characters < FEWEST:
        raise FolioError(
            f"{path}: only {survey.characters:,} characters of text; a model needs {FEWEST:,} or "
            "more, and is better with a million"
        )


def _corpus(material: Material, columns: Columns | None) -> dict[str, Any]:
    """What is declared of the texts, but for their labels and shares."""
    running = material.reader in ("text", "files")
    tested = any(TEST_PART.search(name) for name in material.names)
    official = material.reader == "labelled-folders" and tested
    split = "contiguous" if running else "official" if official else "hash"
    found: dict[str, Any] = {"reader": material.reader}
    found |= {"glob": material.glob} if material.glob else {}
    found |= {"encoding": material.encoding} if material.encoding else {}
    found |= {"delimiter": material.delimiter} if material.delimiter not in (None, ",") else {}
    found |= {"text_column": columns.text} if columns else {}
    found |= {"labels": material.labels} if material.labels else {}
    return found | {"split": split}


def _labels(survey: Survey, material: Material) -> tuple[list[str], list[str]]:
    """Those that the model will know, sorted, and those of too few texts; none if they turn out to
    be too many."""
    if material.reader == "labelled-folders":
        return material.labels or FOLDER_LABELS, []
    counts = survey.labels
    if not 2 <= len(counts) <= MOST_LABELS:
        return [], []
    rare = sorted(label for label, number in counts.items() if number < RARE)
    kept = sorted(counts.keys() - set(rare))
    return (kept, rare) if len(kept) >= 2 else ([], [])


def _relative(path: Path, folder: Path) -> str:
    """As the declaration in `folder` names it."""
    whole, base = path.absolute(), folder.absolute()
    return os.path.relpath(whole, base) if whole.is_relative_to(base) else str(whole)


def _shown(file: Path) -> str:
    name = str(file)
    return name if "/" in name else f"./{name}"
