"""What a declaration says of the evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from pipelines.declaration.section_base import LONGEST, Section
from pipelines.declaration.slices import SliceKind


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
