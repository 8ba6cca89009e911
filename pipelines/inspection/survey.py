"""What all texts of a source are like: how many, how long, which scripts, which repeat."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from pipelines.corpus.division.listing import Entries, Listing
from pipelines.readers.cleaning import text_digest
from pipelines.readers.documents import Document, Notes
from pipelines.store.artifacts import Progress

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
LETTERS_OF = 2000  # characters of a text whose letters are counted
DISTINCT_CHARACTERS = 20_000  # at most; Unicode has more, no language
WITHOUT_BLANKS = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
MOSTLY = 0.3  # share of the letters
SMALLEST_SHARE = 0.001  # signs such as a micro sign are letters of no script
SHOWN_EVERY = 1000  # documents


@dataclass
class Survey:
    """Counts over the documents that a reader returns. `listing` is there once all are added."""

    entries: Entries = field(default_factory=Entries)
    reasons: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)  # as they are written
    letters: Counter[str] = field(default_factory=Counter)
    words: int = 0
    first: str = ""  # the beginning of the first usable text

    @classmethod
    def of(cls, documents: Iterable[Document], progress: Progress) -> Survey:
        survey = cls()
        for document in documents:
            survey.add(document)
            if survey.documents % SHOWN_EVERY == 0:
                progress(survey.documents, None, "documents read")
        return survey

    def add(self, document: Document) -> None:
        text, reason = document.text, document.reason
        digest = None if reason else text_digest(text)
        self.entries.add(len(text), digest, document.label, document.group, document.part, reason)
        if reason:
            self.reasons[reason] += 1
            return
        if document.group is not None:
            self.labels[document.group] += 1
        if len(self.letters) < DISTINCT_CHARACTERS:
            self.letters.update(text[:LETTERS_OF])
        self.words += text.count(" ") + text.count("\n") + 1
        self.first = self.first or text[:200]

    @cached_property
    def listing(self) -> Listing:
        return self.entries.listing()

    @property
    def documents(self) -> int:
        return len(self.entries)

    @property
    def usable(self) -> int:
        return self.documents - self.reasons.total()

    @property
    def characters(self) -> int:
        return int(self.listing.characters[self.listing.usable()].sum())

    @property
    def repeats(self) -> int:
        """Texts that equal an earlier one."""
        found = self.listing.digests[self.listing.repeated()]
        return len(found) - len(np.unique(found, axis=0))

    def quantile(self, share: float) -> int:
        """Characters that this share of the texts has at most."""
        lengths = self.listing.characters[self.listing.usable()]
        return int(np.quantile(lengths, share)) if len(lengths) else 0

    @property
    def scripts(self) -> dict[str, float]:
        """The share of the letters in each script, the largest first."""
        found: Counter[str] = Counter()
        for character, number in self.letters.items():
            if character.isalpha():
                found[unicodedata.name(character, "OTHER").split()[0].split("-")[0]] += number
        shares = {name: number / found.total() for name, number in found.most_common()}
        return {name: share for name, share in shares.items() if share >= SMALLEST_SHARE}

    @property
    def has_blanks(self) -> bool:
        """Whether words are separated, as in most scripts."""
        shares = self.scripts
        return sum(shares.get(name, 0.0) for name in WITHOUT_BLANKS) < MOSTLY

    def as_json(self, notes: Notes) -> dict[str, Any]:
        return {
            "documents": self.documents,
            "characters": self.characters,
            "words": self.words if self.has_blanks else None,
            "lengths": {f"{share:.0%}": self.quantile(share) for share in QUANTILES}
            | {"longest": int(self.listing.characters.max(initial=0))},
            "scripts": {name.lower(): round(share, 3) for name, share in self.scripts.items()},
            "distinct_characters": len(self.letters),
            "repeats": self.repeats,
            "unusable": dict(sorted(self.reasons.items())),
            "ignored": dict(sorted((+notes.ignored).items())),
        }
