"""A tiny language model, and a classifier that starts from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from tests.conftest import declared, made_once

LANGUAGE_MODEL = """\
title: Tiny language model of reviews
source: {{path: {samples}/reviews.csv}}
corpus: {{reader: csv, split: hash, validation: 0.2, test: 0.2, text_column: review}}
tokens: {{kind: word, lower: true, words: punctuation, end: </s>}}
batches: {{batch_size: 8, sequence_length: 20}}
model: {{kind: language_model, cell: lstm, embedding: 6, units: [7], tie_embeddings: true}}
training: {{epochs: 1, learning_rate: 0.02}}
evaluation: {{start: "this film", sample_length: 12, temperatures: [1.0]}}
registry: {{metric: perplexity, floor: 5000}}
"""
CLASSIFIER = """\
title: Tiny reviews, started from a language model
source: {{path: {samples}/reviews.csv}}
corpus: {{reader: csv, split: hash, validation: 0.2, test: 0.2, text_column: review,
         label_column: sentiment}}
tokens: {{kind: word, lower: true, words: punctuation, max_tokens: 40}}
batches: {{batch_size: 16, max_buckets: 2}}
model: {{kind: classifier, cell: lstm, embedding: 6, units: [7], pool: all,
        start_from: {{pipeline: tiny-lm}}}}
training: {{epochs: 1, learning_rate: 0.02}}
registry: {{metric: accuracy, floor: 0.1}}
"""
CHARACTERS = """\
title: Characters of prose
source: {{path: prose.txt}}
corpus: {{reader: text, split: contiguous, validation: 0.1, test: 0.1}}
tokens: {{kind: char}}
batches: {{batch_size: 4, sequence_length: 20}}
model: {{kind: language_model, cell: lstm, embedding: 6, units: [7]}}
training: {{epochs: 1, learning_rate: 0.02}}
evaluation: {{start: "a", sample_length: 12, temperatures: [1.0]}}
registry: {{metric: perplexity, floor: 5000}}
"""
VERSES = """\
title: Verses, started from prose
source: {{path: verse.txt}}
corpus: {{reader: lines, split: hash, validation: 0.2, test: 0.2}}
tokens: {{kind: char, end: "*"}}
batches: {{batch_size: 4, layout: documents}}
model: {{kind: language_model, cell: lstm, embedding: 6, units: [7],
        start_from: {{pipeline: prose}}}}
training: {{epochs: 1, learning_rate: 0.02}}
evaluation: {{start: "a", sample_length: 12, temperatures: [1.0]}}
registry: {{metric: perplexity, floor: 5000}}
"""


def declared_characters(folder: Path) -> tuple[Path, Path]:
    """Two language models of characters; the verses have one that the prose lacks."""
    (folder / "prose.txt").write_text("a bad cab fed a dead bee. " * 120)
    (folder / "verse.txt").write_text("".join(f"a bee ~ {'bad ' * (n % 7)}\n" for n in range(80)))
    return declared(folder, "prose", CHARACTERS), declared(folder, "verse", VERSES)


def declared_chain(folder: Path) -> tuple[Path, Path]:
    """(language model, classifier)."""
    return (
        declared(folder, "tiny-lm", LANGUAGE_MODEL),
        declared(folder, "tiny-started", CLASSIFIER),
    )


@pytest.fixture(scope="session")
def pipelines(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return declared_chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="session")
def chained(shared: Path, empty_registry: Path, pipelines: tuple[Path, Path]) -> Settings:
    """A home in which both have run. Read only."""

    def make(home: Path) -> None:
        shutil.copytree(empty_registry, home, dirs_exist_ok=True)
        for pipeline in pipelines:
            run(pipeline, Settings.at(home))

    return Settings.at(made_once(shared / "chained", make))


@pytest.fixture
def copied(chained: Settings, tmp_path: Path) -> Settings:
    shutil.copytree(chained.home, tmp_path / "home")
    return Settings.at(tmp_path / "home")


def run(pipeline: Path, settings: Settings, *overrides: str) -> dict[str, str]:
    """{stage: what was done}."""
    record = retrain_plain(
        str(pipeline), overrides=overrides, settings=settings, notice=lambda text: None
    )
    return {entry["stage"]: entry["action"] for entry in record["stages"]}
