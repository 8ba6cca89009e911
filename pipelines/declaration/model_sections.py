"""The last part of a declaration: what is measured, and what a new model must achieve."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from pipelines.declaration.data_sections import LONGEST, OPERATIONAL, Section, Tokens
from pipelines.declaration.slices import SliceKind

Figure = Annotated[float, Field(ge=-1e9, le=1e9)]  # of any metric
LOWER_IS_BETTER = ("log_loss", "nats_per_character", "bits_per_character", "perplexity")


class EvaluationSpec(Section):
    """What is measured on held-out text."""

    slices: tuple[SliceKind, ...] = Field(
        (),
        description="the kinds of slices: length and unknown_rate; for language models also part "
        "(tenths of the test text), group (corpus.group, or the file) and speaker (of a "
        "play)",
    )
    calibration: Literal["temperature", "none"] = Field(
        "temperature",
        description="classifiers: temperature scales the logits to minimize the log loss on "
        "validation; predictions use the scaled probability",
    )
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["best"] = Field(
        0.5,
        description="classifiers: the second label is predicted above it; best: the one with the "
        "highest accuracy on validation",
    )
    temperatures: tuple[Annotated[float, Field(ge=0, le=1000)], ...] = Field(
        (0.5, 0.8, 1.0), max_length=20, description="samples are generated at each"
    )
    sample_length: PositiveInt = Field(400, le=LONGEST, description="tokens per sample")
    start: str = Field("\n", description="the text that samples continue")
    context: PositiveInt | None = Field(
        None,
        le=LONGEST,
        description="when generating text, predict each token from only this many preceding "
        "tokens, from the zero state; unset: all, with the state carried. Scores do not depend "
        "on it",
    )
    baseline_order: PositiveInt = Field(
        5, le=100, description="tokens in the longest n-gram of the baseline for language models"
    )


class RegistrySpec(Section):
    """Which metric decides, and what a new model must achieve to become champion."""

    metric: Literal[
        "accuracy", "log_loss", "roc_auc", "bits_per_character", "nats_per_character", "perplexity"
    ]
    floor: Figure | None = Field(
        None, description="the worst value that can be promoted: a maximum if lower is better"
    )
    margin: float = Field(
        0.0,
        ge=0,
        le=1e9,
        description="smaller differences from the champion are ignored, as they may come from "
        "another seed; in the metric's unit",
    )
    confidence: float = Field(0.95, ge=0.5, lt=1, description="confidence level of the comparison")
    slice_floors: dict[SliceKind, Figure | dict[str, Figure]] = Field(
        {},
        description="a floor for every slice of a kind in evaluation.slices: {length: 0.7}, or for "
        "named slices: {length: {over 400: 0.7}}",
    )

    @property
    def lower_is_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER


Units = Annotated[PositiveInt, Field(le=65_536)]


class ModelSpec(Section):
    """The recurrent network."""

    kind: Literal["classifier", "language_model"]
    cell: Literal["simple", "lstm", "gru", "peephole"] = "lstm"
    bidirectional: bool = False
    embedding: Units = Field(64, description="size of a token's embedding vector")
    units: tuple[Units, ...] = Field(
        (64,), min_length=1, max_length=32, description="one number per layer"
    )
    dense: Units | None = Field(None, description="hidden ReLU units before the logit")
    dropout: float = Field(0.0, ge=0, lt=1)
    recurrent_initializer: Literal["orthogonal", "glorot_uniform"] = "orthogonal"
    stateful: bool = Field(False, description="carry the state from batch to batch")

    @model_validator(mode="after")
    def _possible(self) -> ModelSpec:
        if self.kind == "language_model" and self.bidirectional:
            raise ValueError(
                "a bidirectional language model would see the token that it predicts; "
                "set it to false"
            )
        if self.kind == "classifier" and self.stateful:
            raise ValueError("stateful is not for classifiers: their documents are unrelated")
        if self.kind == "language_model" and self.dense:
            raise ValueError("dense is for classifiers; a language model has no dense layers")
        return self


class TrainingSpec(Section):
    """How the weights are trained. Validation picks the epoch; the test split is never read
    here."""

    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    learning_rate: float = Field(0.001, gt=0, le=1000)
    epochs: PositiveInt = Field(10, le=1_000_000)
    patience: PositiveInt | None = Field(
        None,
        le=1_000_000,
        description="stop after this many epochs without a better validation loss",
    )
    clip_norm: float | None = Field(
        None, gt=0, le=1e9, description="maximum norm of the whole gradient"
    )
    truncate: Tokens | None = Field(
        None,
        description="number of steps that gradients flow back through; the state is carried on",
    )
    loop: Literal["fit", "custom"] = Field(
        "fit", description="Keras's training step, or Folio's hand-written one"
    )
    shuffle: bool | None = Field(
        None, description="a new order in each epoch; default: true, unless the state is carried"
    )
    checkpoint_every: float = Field(
        60,
        gt=0,
        le=1e8,
        description="at most this many seconds of work are lost on a kill",
        json_schema_extra=OPERATIONAL,
    )
    backend: Literal["tensorflow", "jax", "torch"] = "tensorflow"

    @model_validator(mode="after")
    def _possible(self) -> TrainingSpec:
        if self.loop == "custom" and self.backend != "tensorflow":
            raise ValueError(
                f"loop custom is written for tensorflow, not for {self.backend}; use fit"
            )
        return self
