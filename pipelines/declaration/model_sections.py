"""The last part of a declaration: what is measured, and what a new model must show."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from pipelines.declaration.data_sections import LONGEST, OPERATIONAL, Section, Tokens
from pipelines.declaration.slices import SliceKind

Figure = Annotated[float, Field(ge=-1e9, le=1e9)]  # of any metric
LOWER_IS_BETTER = ("log_loss", "nats_per_character", "bits_per_character", "perplexity")


class EvaluationSpec(Section):
    """What is measured on the held-out text."""

    slices: tuple[SliceKind, ...] = Field(
        (),
        description="what the figures are told apart by: length and unknown_rate; for language "
        "models also part (tenths of the test text), group (corpus.group, or the file) and speaker "
        "(of a play)",
    )
    calibration: Literal["temperature", "none"] = Field(
        "temperature",
        description="classifiers: temperature scales the logits so that validation "
        "is least surprising; a served probability is the scaled one",
    )
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["best"] = Field(
        0.5,
        description="classifiers: the second label is said above it; best: the one that "
        "labels most of validation right",
    )
    temperatures: tuple[Annotated[float, Field(ge=0, le=1000)], ...] = Field(
        (0.5, 0.8, 1.0), max_length=20, description="one sample or more is drawn at each"
    )
    sample_length: PositiveInt = Field(400, le=LONGEST, description="tokens a sample")
    start: str = Field("\n", description="what samples begin with")
    context: PositiveInt | None = Field(
        None,
        le=LONGEST,
        description="tokens before the next one that are read, from the zero "
        "state, when text is drawn; unset: all, with the state carried. Scores do not depend on it",
    )
    baseline_order: PositiveInt = Field(
        5,
        le=100,
        description="tokens in the longest n-gram of "
        "the baseline that language models are compared with",
    )


class RegistrySpec(Section):
    """Which figure decides, and what a new model must show to become champion."""

    metric: Literal[
        "accuracy", "log_loss", "roc_auc", "bits_per_character", "nats_per_character", "perplexity"
    ]
    floor: Figure | None = Field(
        None,
        description="the worst value that may become champion: a maximum where lower is better",
    )
    margin: float = Field(
        0.0,
        ge=0,
        le=1e9,
        description="smaller differences to the champion "
        "decide nothing: what another seed does, in the metric's own unit",
    )
    confidence: float = Field(0.95, ge=0.5, lt=1, description="how sure one must be of that")
    slice_floors: dict[SliceKind, Figure | dict[str, Figure]] = Field(
        {},
        description="a floor for every slice of evaluation.slices: {length: 0.7}, or for those "
        "named: {length: {over 400: 0.7}}",
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
    embedding: Units = Field(64, description="size of a token's vector")
    units: tuple[Units, ...] = Field(
        (64,), min_length=1, max_length=32, description="one number a layer"
    )
    dense: Units | None = Field(None, description="hidden ReLU units before the logit")
    dropout: float = Field(0.0, ge=0, lt=1)
    recurrent_initializer: Literal["orthogonal", "glorot_uniform"] = "orthogonal"
    stateful: bool = Field(False, description="carry the state from batch to batch")

    @model_validator(mode="after")
    def _possible(self) -> ModelSpec:
        if self.kind == "language_model" and self.bidirectional:
            raise ValueError(
                "bidirectional would let a language model see the token that it "
                "predicts; set it to false"
            )
        if self.kind == "classifier" and self.stateful:
            raise ValueError("stateful makes no sense for a classifier: its reviews are unrelated")
        if self.kind == "language_model" and self.dense:
            raise ValueError("dense belongs to the classifier; a language model has none")
        return self


class TrainingSpec(Section):
    """How the weights are found. Validation picks the epoch; the test split is never read here."""

    optimizer: Literal["adam", "rmsprop", "sgd"] = "adam"
    learning_rate: float = Field(0.001, gt=0, le=1000)
    epochs: PositiveInt = Field(10, le=1_000_000)
    patience: PositiveInt | None = Field(
        None,
        le=1_000_000,
        description="stop after this many epochs that do not better the best validation loss",
    )
    clip_norm: float | None = Field(
        None, gt=0, le=1e9, description="largest norm of the whole gradient"
    )
    truncate: Tokens | None = Field(
        None,
        description="longest stretch of steps that gradients flow back through; the state "
        "is carried over, the gradient cut",
    )
    loop: Literal["fit", "custom"] = Field(
        "fit", description="Keras's own training step, or ours, written out"
    )
    shuffle: bool | None = Field(
        None, description="reshuffle each epoch; unset: unless the state is carried"
    )
    checkpoint_every: float = Field(
        60,
        gt=0,
        le=1e8,
        description="seconds of work at risk at most",
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
