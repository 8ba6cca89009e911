"""The input of an evaluation: the model, the requested measurements, and the held-out text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pipelines.batches.dataset import Split
from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.spec import EvaluationSpec
from pipelines.model.scoring import Scored, Scorer
from pipelines.store.artifacts import Inputs, Progress
from pipelines.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    import keras

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Evaluation:
    """One model, measured once. `inputs` are the artifacts batches, tokens and corpus."""

    model: keras.Model
    model_spec: ModelSpec
    spec: EvaluationSpec
    seed: int
    inputs: Inputs
    progress: Progress

    @cached_property
    def test(self) -> Split:
        return Split(self.inputs["batches"], "test")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.load(self.inputs["tokens"].path / "vocabulary")

    @cached_property
    def _scorer(self) -> Scorer:
        return Scorer(self.model, self.model_spec)

    def scored(self, split: Split, ids: bool = False) -> Iterator[Scored]:
        """The split's batches and the model's predictions for each."""
        for done, one in enumerate(self._scorer.batches(split, ids=ids), 1):
            unit = f"{split.metadata['split']} batches scored"
            self.progress(done, split.batch_count, unit)
            yield one
