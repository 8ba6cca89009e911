"""The input of an evaluation: the model, the requested measurements, and the held-out text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipelines.batches.dataset import Split
from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.spec import EvaluationSpec
from pipelines.mix.mixed_network import MixedNetwork, network_of
from pipelines.mix.mixed_scorer import scorer_of
from pipelines.mix.mixtures import Mixture
from pipelines.model.scoring import Scored, Scorer
from pipelines.store.artifacts import Inputs, Progress
from pipelines.tokens.vocabulary import Vocabulary

if TYPE_CHECKING:
    import keras

PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class Evaluation:
    """One model, measured once. `inputs` are the artifacts batches, tokens and corpus; `mixture` is
    what the model is mixed with, if anything."""

    model: keras.Model
    model_spec: ModelSpec
    spec: EvaluationSpec
    seed: int
    inputs: Inputs
    progress: Progress
    mixture: Mixture | None = None

    @cached_property
    def test(self) -> Split:
        return Split(self.inputs["batches"], "test")

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary.load(self.inputs["tokens"].path / "vocabulary")

    @cached_property
    def network(self) -> keras.Model | MixedNetwork:
        """What predicts the next token of a language model."""
        return network_of(self.model, self.mixture)

    @cached_property
    def _scorer(self) -> Scorer:
        return scorer_of(self.network, self.model_spec)

    @cached_property
    def _alone(self) -> Scorer:
        return Scorer(self.model, self.model_spec)

    def scored(self, split: Split, ids: bool = False, alone: bool = False) -> Iterator[Scored]:
        """The split's batches and the model's predictions for each; of the network `alone`, without
        the n-grams that a language model is mixed with. Those of a classifier always are."""
        scorer = self._alone if alone else self._scorer
        for done, one in enumerate(scorer.batches(split, ids=ids), 1):
            unit = f"{split.metadata['split']} batches scored"
            self.progress(done, split.batch_count, unit)
            yield one


def mix_figures(mixture: Mixture) -> dict[str, Any]:
    """What the model is mixed with, and the share of it."""
    return {"with": mixture.name, "weight": mixture.weight}
