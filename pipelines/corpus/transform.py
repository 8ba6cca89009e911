"""A step of the user's own: `corpus.transform` names a function that each document goes through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.cleaning import STRAY, composed
from pipelines.readers.documents import EMPTY, Document, Notes
from pipelines.store.own_code import OwnFunction

DROPPED = "dropped-by-transform"
SHOWN = 5  # labels


class Given(NamedTuple):
    """What the function is given. It returns a text, or one of these with other values
    (`document._replace(text=…)`), or None to drop the document."""

    id: str
    text: str
    label: str | None
    group: str | None


def transformed(
    documents: Iterator[Document], spec: CorpusSpec, own: OwnFunction, notes: Notes
) -> Iterator[Document]:
    """The documents as the function returns them; those that it drops get a reason. Raises
    FolioError with one line if it raises, or returns anything else."""
    step, number = _Step(own, spec, notes), 0
    for document in documents:
        number += document.reason is None
        yield step(document, number) if document.reason is None else document


class _Step:
    def __init__(self, own: OwnFunction, spec: CorpusSpec, notes: Notes) -> None:
        self._own, self._function = own, own.loaded()
        self._declared, self._found = spec.labels, notes.labels

    def __call__(self, document: Document, number: int) -> Document:
        place = f"{self._own.named}: document {number:,} ({document.id})"
        try:
            given = self._function(self._shown(document))
        except Exception as error:
            raise FolioError(f"{place}: {self._own.said(error)}") from error
        if given is None:
            return document._replace(reason=DROPPED)
        if isinstance(given, str):
            return _with_text(document, given, place)
        if not isinstance(given, Given) or not isinstance(given.text, str):
            wrong = (
                f"a document whose text is {type(given.text).__name__}"
                if isinstance(given, Given)
                else type(given).__name__
            )
            raise FolioError(
                f"{place}: returned {wrong}; return a text, the document with other "
                "values, or None to drop it"
            )
        label = document.label if given.label is None else self._number(given.label, place)
        return _with_text(document, given.text, place)._replace(label=label, group=given.group)

    def _shown(self, document: Document) -> Given:
        names = self._declared or self._found.names
        label = None if document.label is None else names[int(document.label)]
        return Given(document.id, document.text, label, document.group)

    def _number(self, label: str, place: str) -> float | None:
        if self._declared is None:
            return self._found.value_of(label, place)
        if label not in self._declared:
            known = ", ".join(map(repr, self._declared[:SHOWN]))
            raise FolioError(
                f"{place}: returned the label {label!r}, which is not in corpus.labels: {known}"
            )
        return float(self._declared.index(label))


def _with_text(document: Document, text: str, place: str) -> Document:
    if STRAY.search(text):
        raise FolioError(f"{place}: returned a text that is not valid Unicode")
    text = composed(text)
    return document._replace(text=text, reason=None if text.strip() else EMPTY)
