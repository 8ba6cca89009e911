"""Settings that suit what was found: a classifier where there are labels, else a language model.

`quick` is to train in a minute or two on 2 cores: the rates below are what these sizes reach there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.inspection.splitting import divided
from pipelines.inspection.survey import Survey

QUICK_SECONDS = 60  # of training
CLASSIFIED, CHARACTERS, WORDS = 150_000, 90_000, 40_000  # tokens a second, of the sizes of quick
SHORT = 2_000_000  # characters: a shorter text is read character by character
SUBWORDS_FROM = 300_000  # characters of a script without blanks
MOST_LISTED = 50  # labels
Settings = dict[str, Any]


@dataclass
class Chosen:
    """The sections of a declaration; `why` has a comment for some keys."""

    sections: dict[str, Settings]
    quick: Settings
    why: dict[str, str] = field(default_factory=dict)


def classifier(survey: Survey, corpus: Settings, labels: list[str]) -> Chosen:
    """For texts with these labels, in folders or in a column."""
    split = divided(survey, corpus, labels)
    longest = _rounded(1.15 * survey.quantile(0.95) * survey.words / max(survey.characters, 1))
    most, texts = min(max(longest, 10), 400), survey.usable
    average = min(survey.words / max(texts, 1), most)
    quick_most = min(most, 100)
    epochs = _epochs(0.8 * texts * min(average, quick_most), CLASSIFIED, 10)
    tokens: Settings = {"kind": "word", "lower": True, "max_tokens": most, "keep": "last"}
    tokens |= {"min_count": 2, "max_size": 20_000} if texts >= 2000 else {}
    size = 64 if texts >= 5000 else 32
    sections = {
        "corpus": split.corpus,
        "tokens": tokens,
        "batches": {"batch_size": 32 if texts >= 1000 else 16},
        "model": {
            "kind": "classifier",
            "cell": "lstm",
            "bidirectional": True,
            "embedding": size,
            "units": [size],
            "pool": "all",
            "dropout": {"embedding": 0.2, "output": 0.5},
        },
        "training": {"epochs": 20, "patience": 3, "learning_rate": 0.002, "clip_norm": 1},
        "evaluation": {"slices": ["length", "unknown_rate"]},
        "registry": {"metric": "accuracy"},
    }
    quick = {
        "tokens.max_tokens": quick_most,
        "model.embedding": 32,
        "model.units": [32],
        "training.epochs": epochs,
    }
    why = split.why | {"tokens.max_tokens": "words; 95% of the texts have no more"}
    if most == 400:
        why["tokens.max_tokens"] = "words; longer texts are cut, their end is kept"
    if not survey.has_blanks:
        why["tokens.kind"] = "this script has no blanks between words: whole phrases count as words"
    return Chosen(sections, quick, why)


def language_model(survey: Survey, corpus: Settings) -> Chosen:
    """For running text, or for documents of their own (rows of a table)."""
    running = corpus["split"] == "contiguous"
    split = divided(survey, corpus, [])
    kind, tokens = _tokens(survey)
    count = survey.characters if kind == "char" else _count(survey)
    layout: Settings = {"sequence_length": _length(count)} if running else {"layout": "documents"}
    if not running:
        tokens |= {"begin": "<s>", "end": "</s>", "max_tokens": _longest(survey, kind, count)}
    why = dict(split.why)
    if kind == "subword":
        why["tokens.kind"] = "this script has no blanks between words"
    elif kind == "char":
        why["tokens.kind"] = "the text is short; word for a long one" if survey.has_blanks else ""
    sections = {
        "corpus": split.corpus,
        "tokens": {"kind": kind, **tokens},
        "batches": layout | {"batch_size": _batch(count, layout.get("sequence_length", 100))},
        "model": _network(kind, count),
        "training": {
            "epochs": 20,
            "patience": 3,
            "learning_rate": 0.002,
            "schedule": "cosine",
            "warmup": 0.03,
            "clip_norm": 1,
        },
        "evaluation": _evaluation(survey, kind, running),
        "registry": {"metric": "bits_per_character" if kind == "char" else "perplexity"},
    }
    rate = CHARACTERS if kind == "char" else WORDS
    small = 0.9 * count > rate * QUICK_SECONDS  # one pass alone would take longer
    quick: Settings = {"model.units": [64 if small or kind != "char" else 128]}
    quick |= {"model.embedding": 64} if kind != "char" else {"model.embedding": 32}
    quick |= {"training.learning_rate": 0.004, "training.epochs": _epochs(0.9 * count, rate, 10)}
    return Chosen(sections, quick, {key: text for key, text in why.items() if text})


def _tokens(survey: Survey) -> tuple[str, Settings]:
    if survey.characters < (SHORT if survey.has_blanks else SUBWORDS_FROM):
        return "char", {}
    if survey.has_blanks:
        return "word", {"words": "punctuation", "lower": True, "min_count": 3, "max_size": 10_000}
    return "subword", {"max_size": max(8000, 2 * len(survey.letters))}


def _count(survey: Survey) -> int:
    """Words with punctuation, or pieces of some two characters."""
    return round(1.2 * survey.words) if survey.has_blanks else survey.characters // 2


def _length(tokens: int) -> int:
    """Of a row: a short text must still give a row to each split."""
    return next((length for least, length in ((20_000, 100), (5000, 50)) if tokens >= least), 10)


def _longest(survey: Survey, kind: str, tokens: int) -> int:
    """Tokens of a document, so that few are cut."""
    share = 1.0 if kind == "char" else tokens / max(survey.characters, 1)
    return min(
        max(_rounded(survey.quantile(0.95) * share) + 2, 10), 1000 if kind == "char" else 300
    )


def _network(kind: str, tokens: int) -> Settings:
    model: Settings = {"kind": "language_model", "cell": "gru" if kind == "char" else "lstm"}
    if kind == "char":
        model |= {"embedding": 64, "units": [512 if tokens > 500_000 else 256]}
        return model | {"dropout": {"embedding": 0.1, "output": 0.3}}
    model |= {"embedding": 128, "units": [192], "tie_embeddings": True}
    return model | {"dropout": {"embedding": 0.3, "output": 0.4}}


def _evaluation(survey: Survey, kind: str, running: bool) -> Settings:
    start = "" if not running else _start(survey.first)
    found: Settings = {"start": start, "sample_length": 300 if kind == "char" else 60}
    return found | {"slices": ["part"] if running else ["length"]}


def _start(text: str) -> str:
    """Some first words, which the vocabulary has: train begins with them."""
    line = next((line for line in text.splitlines() if line.strip()), "")[:30].strip()
    return line.rpartition(" ")[0] or line


def _batch(tokens: int, length: int) -> int:
    """Some 50 steps in an epoch, or more."""
    rows = tokens / length
    return next((size for size in (64, 32, 16) if rows >= 50 * size), 8)


def _epochs(tokens: float, rate: int, most: int) -> int:
    return min(max(int(rate * QUICK_SECONDS / max(tokens, 1)), 1), most)


def _rounded(number: float) -> int:
    """Up to a number that people write."""
    step = 10 if number > 50 else 5
    return int(-(-number // step) * step)
