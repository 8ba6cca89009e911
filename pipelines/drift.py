"""Whether a text is still of the kind that the champion learned from.

Each measure is compared twice: by how far apart the distributions are (population stability index,
which does not grow with the amount of text) and by whether chance alone could do that (a
two-sample test, which does). Drift is an index above ALARM that is not chance: of a few documents
chance alone makes a large one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.execute import Settings
from pipelines.lengths import documents_by_length
from pipelines.references import of_version
from pipelines.spec import Spec
from pipelines.store import Artifact, Store
from pipelines.versions import Version, champion_of, versions
from pipelines.vocabulary import Vocabulary

ALARM = 0.2  # the usual rule: below 0.1 next to nothing, above 0.2 another distribution
CHANCE = 0.01  # p below which it is not put down to chance
BINS = 10  # of equally many of the champion's documents
FEWEST = 20  # documents: fewer have no distribution
RAREST = 0.001  # a share below counts as this: next to nothing is as good as nothing
LENGTH = "median length (tokens)"
TERMS = 100  # of Kolmogorov's series, which converges long before


def stability_index(old: np.ndarray, new: np.ndarray) -> float:
    """Population stability index of two histograms over the same bins: (bins,) counts each."""
    before, after = (np.maximum(counts / counts.sum(), RAREST) for counts in (old, new))
    return float(((after - before) * np.log(after / before)).sum())


def kolmogorov_smirnov(old: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    """(largest gap between the shares below any value, p value) of two counts by value.

    The p value is the asymptotic one (Stephens 1970), too large where values repeat.
    """
    size = max(len(old), len(new))
    shares = [np.cumsum(np.pad(counts, (0, size - len(counts)))) / counts.sum()
              for counts in (old, new)]
    gap = float(np.abs(shares[0] - shares[1]).max())
    root = math.sqrt(old.sum() * new.sum() / (old.sum() + new.sum()))
    scaled = (root + 0.12 + 0.11 / root) * gap
    if scaled < 0.2:  # where the series no longer converges, and p is 1 to 12 digits
        return gap, 1.0
    terms = np.arange(1, TERMS + 1)
    p = 2 * float(((-1.0) ** (terms - 1) * np.exp(-2 * (terms * scaled) ** 2)).sum())
    return gap, min(max(p, 0.0), 1.0)


def chi_square(old: np.ndarray, new: np.ndarray) -> tuple[float, float]:
    """(Pearson's chi-square, p value) of two shares, each given as counts (hits, misses)."""
    table = np.array([old, new], float)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    if (expected == 0).any():  # nobody has a hit, or everybody
        return 0.0, 1.0
    statistic = float(((table - expected) ** 2 / expected).sum())
    return statistic, math.erfc(math.sqrt(statistic / 2))  # one degree of freedom


def from_champion(settings: Settings, spec: Spec, corpus: Artifact, tokens: Artifact,
                  new: bool = True) -> dict[str, Any] | None:
    """As `from_version`, of the champion of `spec.name`; None where there is no champion, or
    nothing to compare, or where the text is not `new` and another than the champion's: then the
    run that made it has told."""
    champion = champion_of(versions(settings.home, spec.name))
    found = champion and from_version(champion, settings.store, spec.sample, corpus, tokens, new)
    return found if isinstance(found, dict) else None


def from_version(version: Version, store: Store, sample: bool, corpus: Artifact,
                 tokens: Artifact, new: bool = True) -> dict[str, Any] | str:
    """{version, same_text, drifted, measures} of a text, a sample or not, and the one that
    `version` was trained on; or in words why they are not compared."""
    if (version.tags.get("folio.sample") == "true") != sample:
        return "one of the two was trained on the sample text"
    keys = of_version(version).keys
    old = [store.find(stage, keys[stage]) for stage in ("corpus", "tokens") if stage in keys]
    if len(old) < 2 or None in old:
        return "what it was trained on is no longer in the store"
    same = [one.digest for one in old] == [corpus.digest, tokens.digest]
    if not (same or new):
        return "it is not new"
    found = [] if same else measures(Text.of(*old), Text.of(corpus, tokens))
    return {"version": version.number, "same_text": same, "measures": found,
            "drifted": [one["measure"] for one in found if one["drifted"]]}


@dataclass(frozen=True)
class Text:
    """What is measured of a training text."""

    lengths: np.ndarray  # documents of n tokens at place n
    labels: tuple[int, int] | None  # of class 1, of class 0
    vocabulary: Vocabulary
    unseen: tuple[int, int]  # tokens of the validation split: unknown, known

    @classmethod
    def of(cls, corpus: Artifact, tokens: Artifact) -> Text:
        """The train split, and what its vocabulary does not know of text of the same kind."""
        unseen = tokens.counts["validation"]
        train, config = corpus.counts["splits"]["train"], corpus.manifest["config"]
        labelled = config["corpus.label_column"] or config["corpus.reader"] == "labelled-folders"
        labels = (train["positives"], train["documents"] - train["positives"])
        return cls(documents_by_length(tokens, "train"),
                   labels if labelled else None, Vocabulary.load(tokens.path / "vocabulary"),
                   (unseen["unknown"], unseen["tokens"] - unseen["unknown"]))


def measures(old: Text, new: Text) -> list[dict[str, Any]]:
    """[{measure, old, new, index, test, statistic, p, drifted}]: of the champion's text and of the
    new one; a measure that one of them has not is left out."""
    return [*_lengths(old, new), *_unknown(old, new), *_labels(old, new)]


def _lengths(old: Text, new: Text) -> Iterator[dict[str, Any]]:
    if _cut_alike(old.vocabulary, new.vocabulary):
        yield from of_values(LENGTH, old.lengths, new.lengths)


def _unknown(old: Text, new: Text) -> Iterator[dict[str, Any]]:
    """Tokens that the champion's vocabulary does not know, of its own validation split and of the
    new text. Fewer than there are no drift: it may have seen some of the new text."""
    ours, theirs = old.vocabulary, new.vocabulary
    alike = _cut_alike(ours, theirs) and ours.lower == theirs.lower
    if ours.kind == "subword" or not alike or not sum(old.unseen):
        return
    known = set(ours.tokens) - {ours.tokens[ours.unknown_id], ours.tokens[ours.pad_id]}
    unknown = sum(count for token, count in zip(theirs.tokens, theirs.counts, strict=True)
                  if token not in known)
    yield of_unknown(old.unseen, (unknown, sum(theirs.counts) - unknown))


def of_unknown(old: tuple[int, int], new: tuple[int, int]) -> dict[str, Any]:
    """The row of two counts (unknown tokens, known ones). Fewer unknown are no drift."""
    row = of_shares("unknown tokens", old, new)
    return row | {"drifted": row["drifted"] and row["new"] > row["old"]}


def _cut_alike(ours: Vocabulary, theirs: Vocabulary) -> bool:
    """Whether a token of the one is as much text as a token of the other."""
    sizes = ours.kind != "subword" or ours.size == theirs.size
    return ours.kind == theirs.kind and ours.words == theirs.words and sizes


def _labels(old: Text, new: Text) -> Iterator[dict[str, Any]]:
    if old.labels and new.labels:
        yield of_shares("label 1", old.labels, new.labels)


def of_values(name: str, old: np.ndarray, new: np.ndarray,
              unit: float = 1) -> Iterator[dict[str, Any]]:
    """The row of two counts by value, (values,) each, which tells their medians, times `unit`;
    none where there are fewer than FEWEST."""
    if min(old.sum(), new.sum()) < FEWEST:
        return
    edges = _quantiles(old)
    index = stability_index(*(_binned(counts, edges) for counts in (old, new)))
    yield _row(name, _median(old) * unit, _median(new) * unit, index, "Kolmogorov-Smirnov",
               *kolmogorov_smirnov(old, new))


def of_shares(name: str, old: tuple[int, int], new: tuple[int, int]) -> dict[str, Any]:
    """The row of two shares, each given as counts (hits, misses)."""
    before, after = np.array(old), np.array(new)
    return _row(f"share of {name}", before[0] / before.sum(), after[0] / after.sum(),
                stability_index(before, after), "chi-square", *chi_square(before, after))


def _row(measure: str, old: float, new: float, index: float, test: str, statistic: float,
         p: float) -> dict[str, Any]:
    return {"measure": measure, "old": float(old), "new": float(new), "index": index,
            "test": test, "statistic": statistic, "p": p,
            "drifted": index > ALARM and p < CHANCE}


def _quantiles(counts: np.ndarray) -> np.ndarray:
    """Lengths after which a tenth, two tenths, … of the documents are passed; equal ones once."""
    below = np.cumsum(counts) / counts.sum()
    return np.unique(np.searchsorted(below, np.arange(1, BINS) / BINS))


def _binned(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    which = np.searchsorted(edges, np.arange(len(counts)))
    return np.bincount(which, weights=counts, minlength=len(edges) + 1)


def _median(counts: np.ndarray) -> int:
    return int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
