"""The last part of a declaration: what is measured, and what a new model must show."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pipelines.slices import SliceKind
from pipelines.text_spec import LONGEST, Section

Figure = Annotated[float, Field(ge=-1e9, le=1e9)]  # of any metric
LOWER_IS_BETTER = ("log_loss", "nats_per_character", "bits_per_character", "perplexity")


class EvaluationSpec(Section):
    """What is measured on the held-out text."""

    slices: tuple[SliceKind, ...] = Field(
        (), description="what the figures are told apart by: length and unknown_rate; for language "
        "models also part (tenths of the test text), group (corpus.group, or the file) and speaker "
        "(of a play)")
    calibration: Literal["temperature", "none"] = Field(
        "temperature", description="classifiers: temperature scales the logits so that validation "
        "is least surprising; a served probability is the scaled one")
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["best"] = Field(
        0.5, description="classifiers: the second label is said above it; best: the one that "
        "labels most of validation right")
    temperatures: tuple[Annotated[float, Field(ge=0, le=1000)], ...] = Field(
        (0.5, 0.8, 1.0), max_length=20, description="one sample or more is drawn at each")
    sample_length: PositiveInt = Field(400, le=LONGEST, description="tokens a sample")
    start: str = Field("\n", description="what samples begin with")
    context: PositiveInt | None = Field(
        None, le=LONGEST, description="tokens before the next one that are read, from the zero "
        "state, when text is drawn; unset: all, with the state carried. Scores do not depend on it")
    baseline_order: PositiveInt = Field(5, le=100, description="tokens in the longest n-gram of "
                                        "the baseline that language models are compared with")


class RegistrySpec(Section):
    """Which figure decides, and what a new model must show to become champion."""

    metric: Literal["accuracy", "log_loss", "roc_auc", "bits_per_character",
                    "nats_per_character", "perplexity"]
    floor: Figure | None = Field(None, description="the worst value that may become champion: a "
                                "maximum where lower is better")
    margin: float = Field(0.0, ge=0, le=1e9, description="smaller differences to the champion "
                          "decide nothing: what another seed does, in the metric's own unit")
    confidence: float = Field(0.95, ge=0.5, lt=1, description="how sure one must be of that")
    slice_floors: dict[SliceKind, Figure | dict[str, Figure]] = Field(
        {}, description="a floor for every slice of evaluation.slices: {length: 0.7}, or for those "
        "named: {length: {over 400: 0.7}}")

    @property
    def lower_is_better(self) -> bool:
        return self.metric in LOWER_IS_BETTER
