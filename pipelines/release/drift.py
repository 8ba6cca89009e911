"""Whether a text still resembles the champion's training text.

Each measure is compared in two ways: by the difference between the distributions (population
stability index, which does not grow with the amount of text) and by whether chance could cause it
(a two-sample test, which depends on the amount). Drift is an index above ALARM that is not due to
chance: with few documents, chance alone can give a large index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.corpus.class_names import labels_of
from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError
from pipelines.files.machine import one_line
from pipelines.registry.versions import Version, champion_of, versions
from pipelines.stats.two_samples import LENGTH, of_classes, of_shares, of_unknown, of_values
from pipelines.store.artifacts import Artifact, Store
from pipelines.store.settings import Settings
from pipelines.tokens.lengths import documents_by_length
from pipelines.tokens.vocabulary import Vocabulary


def compared_texts(
    settings: Settings,
    spec: Spec,
    corpus: Artifact,
    tokens: Artifact,
    new: bool,
    notice: Callable[[str], None],
) -> dict[str, Any] | None:
    """Like `from_champion`; tells what has drifted, and an error, which does not stop a run."""
    try:
        found = from_champion(
            settings.home, settings.store, spec.name, spec.sample, corpus, tokens, new
        )
    except (FolioError, OSError, KeyError) as error:
        notice(
            f"{spec.name}: the text could not be compared with the champion's: {one_line(error)}"
        )
        return None
    if found and found["drifted"]:
        notice(
            f"{spec.name}: the text has drifted from what version {found['version']} was trained "
            f"on: {', '.join(found['drifted'])}"
        )
    return found


def from_champion(
    home: Path,
    store: Store,
    name: str,
    sample: bool,
    corpus: Artifact,
    tokens: Artifact,
    new: bool = True,
) -> dict[str, Any] | None:
    """Like `from_version`, for the champion of the model `name`; None if there is no champion or
    nothing to compare, or if the text is not `new` and differs from the champion's: then the run
    that made it has reported the drift."""
    champion = champion_of(versions(home, name))
    found = champion and from_version(champion, store, sample, corpus, tokens, new)
    return found if isinstance(found, dict) else None


def from_version(
    version: Version,
    store: Store,
    sample: bool,
    corpus: Artifact,
    tokens: Artifact,
    new: bool = True,
) -> dict[str, Any] | str:
    """{version, same_text, drifted, measures} of a text, a sample or not, and the one that
    `version` was trained on; or in words why they cannot be compared."""
    if (version.tags.get("folio.sample") == "true") != sample:
        return "one of the two was trained on the sample text"
    old_corpus, old_tokens = (
        store.find(stage, version.tags.get(f"folio.{stage}.key", ""))
        for stage in ("corpus", "tokens")
    )
    if old_corpus is None or old_tokens is None:
        return "what it was trained on is no longer in the store"
    same = (old_corpus.digest, old_tokens.digest) == (corpus.digest, tokens.digest)
    if not (same or new):
        return "it is not new"
    found = (
        []
        if same
        else measures(TrainingText.of(old_corpus, old_tokens), TrainingText.of(corpus, tokens))
    )
    return {
        "version": version.number,
        "same_text": same,
        "measures": found,
        "drifted": [one["measure"] for one in found if one["drifted"]],
    }


@dataclass(frozen=True)
class TrainingText:
    """The measured properties of a training text."""

    lengths: np.ndarray  # documents with n tokens at index n
    labels: dict[str, int] | None  # documents of each
    vocabulary: Vocabulary
    unseen: tuple[int, int]  # tokens of the validation split: unknown, known

    @classmethod
    def of(cls, corpus: Artifact, tokens: Artifact) -> TrainingText:
        """The train split, and the tokens of similar text that are not in its vocabulary."""
        unseen = tokens.counts["validation"]
        train, config = corpus.counts["splits"]["train"], corpus.manifest["config"]
        labelled = config["corpus.label_column"] or config["corpus.reader"] == "labelled-folders"
        names, documents = labels_of(corpus), train.get("by_label")
        if documents is None:
            documents = [train["documents"] - train["positives"], train["positives"]]
        return cls(
            documents_by_length(tokens, "train"),
            dict(zip(names, documents, strict=True)) if labelled else None,
            Vocabulary.load(tokens.path / "vocabulary"),
            (unseen["unknown"], unseen["tokens"] - unseen["unknown"]),
        )


def measures(old: TrainingText, new: TrainingText) -> list[dict[str, Any]]:
    """[{measure, old, new, index, test, statistic, p, drifted}]: for the champion's text and the
    new one; measures that one of them lacks are left out."""
    return [*_lengths(old, new), *_unknown(old, new), *_labels(old, new)]


def _lengths(old: TrainingText, new: TrainingText) -> Iterator[dict[str, Any]]:
    if _cut_alike(old.vocabulary, new.vocabulary):
        yield from of_values(LENGTH, old.lengths, new.lengths)


def _unknown(old: TrainingText, new: TrainingText) -> Iterator[dict[str, Any]]:
    """Tokens not in the champion's vocabulary, in its own validation split and in the new text.
    Fewer than before are not drift: it may have seen some of the new text."""
    ours, theirs = old.vocabulary, new.vocabulary
    alike = _cut_alike(ours, theirs) and ours.lower == theirs.lower
    if ours.kind == "subword" or not alike or not sum(old.unseen):
        return
    known = set(ours.tokens) - {ours.tokens[ours.unknown_id], ours.tokens[ours.pad_id]}
    unknown = sum(
        count
        for token, count in zip(theirs.tokens, theirs.counts, strict=True)
        if token not in known
    )
    yield of_unknown(old.unseen, (unknown, sum(theirs.counts) - unknown))


def _cut_alike(ours: Vocabulary, theirs: Vocabulary) -> bool:
    """Whether tokens of both represent the same amount of text."""
    sizes = ours.kind != "subword" or ours.size == theirs.size
    return ours.kind == theirs.kind and ours.words == theirs.words and sizes


def _labels(old: TrainingText, new: TrainingText) -> Iterator[dict[str, Any]]:
    if not (old.labels and new.labels):
        return
    if len(old.labels) == len(new.labels) == 2:
        negatives, positives = zip(old.labels.values(), new.labels.values(), strict=True)
        yield of_shares("label 1", *zip(positives, negatives, strict=True))
        return
    names = list(old.labels | new.labels)
    before, after = (
        np.array([one.get(name, 0) for name in names]) for one in (old.labels, new.labels)
    )
    yield from of_classes(names, before, after)
