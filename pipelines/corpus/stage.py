"""The corpus stage: raw files to documents by split, and a quarantine with reasons.

The split of a document may depend on files that come last (film lists, the test folder). So the
texts and ids wait on disk while groups and digests decide. Reading, comparing and writing are
steps; the decisions are made here. Memory holds 34 bytes of each document in columns, and a
name of each group.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.corpus.class_numbers import check_occurrences, check_train, renumbered
from pipelines.corpus.comparing import near_duplicates
from pipelines.corpus.division.listing import Categories, Listing
from pipelines.corpus.division.splits import (
    CUT,
    NEAR_DUPLICATE_OF_TEST,
    OFFICIAL_TEST,
    REPEATS,
    TEST,
    TRAIN,
    VALIDATION,
    Assignment,
    assign_splits,
    undivided,
)
from pipelines.corpus.reading import Own, read_source
from pipelines.corpus.shards import Leak, write
from pipelines.corpus.text_cache import Texts
from pipelines.corpus.transform import DROPPED
from pipelines.corpus.unlabelled import set_repeats_aside
from pipelines.declaration.data_sections import SPLITS, UNLABELLED
from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.cleaning import NORMAL_FORM
from pipelines.readers.documents import Notes
from pipelines.readers.labelled_folders import film_of
from pipelines.store.artifacts import Artifact, Workspace

SHOWN = 5  # lines to list in a notice


def build(
    inputs: Mapping[str, Artifact], config: dict[str, Any], work: Workspace
) -> dict[str, Any]:
    """Writes `documents/<split>-NNNN.parquet`, `quarantine.parquet` and `near_duplicates.parquet`;
    returns the counts.

    Read = kept + quarantined + left out (by `corpus.length` and `markup`). Raises FolioError for
    files that do not match the declaration, and if more than `corpus.max_quarantined` of the
    documents would be quarantined.
    """
    spec, notes = config["corpus"], Notes()
    divided = divide(inputs["source"], spec, config["seed"], notes, work, config["code_folder"])
    texts, listing, assignment, labels = divided
    if spec.unlabelled:
        set_repeats_aside(texts, listing, assignment, work)
    pairs = _near_duplicates(divided, spec, work)
    splits = write(texts, listing, assignment, pairs, len(labels), work)
    empty(work.scratch)
    found = Counter(split for _, split in pairs)
    return (
        _counts(listing, assignment, notes, splits)
        | {"near_duplicates": {split: found[split] for split in (TRAIN, VALIDATION)}}
        | ({"labels": labels} if len(labels) > 2 or (spec.labelled and not spec.labels) else {})
    )


class Divided(NamedTuple):
    """All documents that were read, and the decision on each."""

    texts: Texts
    listing: Listing
    assignment: Assignment
    labels: list[str]  # in the order of their numbers


def divide(
    source: Artifact, spec: CorpusSpec, seed: int, notes: Notes, work: Workspace, folder: str
) -> Divided:
    """Reads and divides the documents; `folder` has the code of `corpus.transform`. What is wrong
    goes to `notes.wrong`: if that returns, the next step follows, so that everything else that is
    wrong is found too."""
    texts, listing = read_source(source, spec, notes, Own.of(spec, folder), work)
    assignment = undivided(listing)
    if notes.on_error is None:  # else the one below says more
        _check_quarantine(assignment, texts, spec, notes)
    with notes.told():
        check_occurrences(listing, texts, spec, notes)
    with notes.told():
        if spec.group and spec.reader == "labelled-folders":
            listing.groups = _films(texts, listing, notes)
    with notes.told():
        assignment = assign_splits(listing, spec, seed)
    labels = renumbered(listing, assignment, spec, notes)
    with notes.told():
        _check_quarantine(assignment, texts, spec, notes)
    with notes.told():
        check_train(listing, assignment, labels, spec)
    return Divided(texts, listing, assignment, labels)


def _films(texts: Texts, listing: Listing, notes: Notes) -> Categories:
    """The film of each document; none for one without a label."""
    found = Categories.none(len(listing), np.uint32)
    divided = ~listing.parts.among(UNLABELLED)
    for at, batch in texts.numbered(["id"]):
        names = zip(batch["id"].to_pylist(), divided[at : at + batch.num_rows], strict=True)
        films = [film_of(name, notes.films) if has else None for name, has in names]
        found.fill(at, pa.array(films, pa.string()))
    return found


def empty(folder: Path) -> None:
    """Removes all that is in a folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _check_quarantine(assignment: Assignment, texts: Texts, spec: CorpusSpec, notes: Notes) -> None:
    reasons = assignment.reasons
    del reasons[DROPPED]  # on purpose
    if not spec.labelled:  # short speeches naturally repeat; that does not indicate a wrong source
        reasons = Counter({why: n for why, n in reasons.items() if why not in REPEATS})
    share = reasons.total() / len(assignment.fates)
    if share <= spec.max_quarantined:
        return
    worst = int(assignment.fates.where(reasons.most_common(1)[0][0])[0])
    example = texts.names_of([worst])[worst]
    wrong = ""
    if notes.other_labels:
        labels = ", ".join(repr(label) for label, _ in notes.other_labels.most_common(3))
        known = spec.labels or ()
        none_of = f"neither {known[0]!r} nor {known[1]!r}" if len(known) == 2 else "not declared"
        wrong = f"; label {labels} is {none_of} (corpus.labels)"
    raise FolioError(
        f"{share:.1%} of {len(assignment.fates):,} documents cannot be used, more than "
        f"corpus.max_quarantined {spec.max_quarantined:.1%}: {_listed(reasons)}; for "
        f"example {example}{wrong}. Fix the source or the declaration"
    )


def _near_duplicates(divided: Divided, spec: CorpusSpec, work: Workspace) -> list[Leak]:
    """Near-duplicates between train or validation and test, with their splits before any are
    dropped."""
    texts, listing, fates = divided.texts, divided.listing, divided.assignment.fates
    test, others = (TEST, OFFICIAL_TEST), (TRAIN, VALIDATION)
    pairs = near_duplicates(texts, listing.characters, fates, test, others, work)
    found = [(pair, fates[pair.document] or "") for pair in pairs]
    if spec.duplicates == "drop":
        fates.put(np.array([pair.document for pair in pairs], np.int64), NEAR_DUPLICATE_OF_TEST)
    if found and TRAIN not in fates and CUT not in fates:
        raise FolioError(
            "corpus.duplicates drop leaves nothing to train on: every document nearly "
            "repeats one in test; fix the source"
        )
    return found


def _listed(numbers: Counter[str]) -> str:
    return ", ".join(f"{what} {number}" for what, number in numbers.most_common())


def _counts(
    listing: Listing, assignment: Assignment, notes: Notes, splits: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    left_out, quarantined = Counter(notes.left_out), assignment.reasons.total()
    left_out[OFFICIAL_TEST] = assignment.fates.counts()[OFFICIAL_TEST]
    read = len(listing) + notes.left_out.total()
    pieces = sum(len(cut) - 1 for cut in assignment.cuts.values())
    kept = sum(totals["documents"] for totals in splits.values()) - pieces
    assert kept + quarantined + left_out.total() == read, (
        f"{kept} kept + {quarantined} quarantined + {left_out.total()} left out != {read} read"
    )
    return {
        "read": read,
        "kept": kept,
        "quarantined": quarantined,
        "left_out": _sorted(left_out),
        "cut": len(assignment.cuts),
        "splits": splits,
        "reasons": _sorted(assignment.reasons),
        "groups_in_two_splits": _straddling_groups(listing, assignment),
        "ignored": _sorted(notes.ignored),
        "other_labels": _sorted(notes.other_labels),
        "normal_form": NORMAL_FORM,
    } | _further(notes)


def _further(notes: Notes) -> dict[str, Any]:
    """How many documents were composed, and what a person should look at; only if there are
    any."""
    found: dict[str, Any] = {"composed": notes.composed} if notes.composed else {}
    if not notes.doubts:
        return found
    more = f" and {len(notes.doubts) - SHOWN} more" if len(notes.doubts) > SHOWN else ""
    text = (
        "kept as text, though next to a line like those of Project Gutenberg's licence frames: "
        f"{', '.join(notes.doubts[:SHOWN])}{more}; if it is not text, remove it from the file, or "
        "cut it with corpus.start and corpus.end"
    )
    return found | {"notices": [text]}


def _sorted(numbers: Counter[str]) -> dict[str, int]:
    return dict(sorted((+numbers).items()))


def _straddling_groups(listing: Listing, assignment: Assignment) -> int:
    """How many groups an official split has in both parts (aclImdb: one film)."""
    groups, splits = listing.groups, np.zeros(len(listing.groups.names), np.int64)
    for split in SPLITS:
        codes = groups.codes[assignment.fates.among(split)]
        splits += np.bincount(codes, minlength=len(splits)) > 0
    return int((splits[1:] > 1).sum())
