"""The search space of `folio tune`: the keys whose values it may try, and these values."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from pydantic import AfterValidator, Field, model_validator

from pipelines.declaration.model_sections import BatchesSpec, ModelSpec, TokensSpec
from pipelines.declaration.section_base import Section
from pipelines.declaration.training_section import TrainingSpec
from pipelines.errors import did_you_mean

# Others change the validation text, or no figure of validation.
TUNABLE = {
    "tokens": TokensSpec,
    "batches": BatchesSpec,
    "model": ModelSpec,
    "training": TrainingSpec,
}
End = Annotated[int, Field(ge=-1e9, le=1e9)] | Annotated[float, Field(ge=-1e9, le=1e9)]


def _known(key: str) -> str:
    section, *parts = key.split(".")
    if section not in TUNABLE or not parts:
        raise ValueError(f"only keys of {', '.join(TUNABLE)} can be tuned, such as training.epochs")
    model: Any = TUNABLE[section]
    for part in parts:
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            raise ValueError(f"unknown key {key}{did_you_mean(part, list(fields))}")
        kind = fields[part].annotation
        model = next((one for one in (kind, *get_args(kind)) if hasattr(one, "model_fields")), None)
    return key


TunedKey = Annotated[str, AfterValidator(_known)]


class TuneSpec(Section):
    """The values to try for one key: a range, or choices (also written as a list alone)."""

    low: End | None = Field(
        None, description="the lowest value; whole numbers only if both ends are written so"
    )
    high: End | None = Field(None, description="the highest value")
    log: bool = Field(False, description="each factor of ten is tried equally often")
    step: End | None = Field(None, description="try only low, low + step, …")
    choices: tuple[Any, ...] | None = Field(
        None, min_length=2, max_length=1000, description="the values to try, instead of a range"
    )

    @model_validator(mode="before")
    @classmethod
    def _list_of_choices(cls, given: Any) -> Any:
        return {"choices": given} if isinstance(given, list | tuple) else given

    @model_validator(mode="after")
    def _possible(self) -> TuneSpec:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.step or self.log:
                raise ValueError("give low and high, or choices, not both")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices: a list of values")
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log needs a low above 0, not {self.low}")
        if self.log and self.step is not None:
            raise ValueError("log and step are mutually exclusive")
        if self.step is not None and not 0 < self.step <= self.high - self.low:
            raise ValueError(f"step {self.step} must be above 0 and at most high − low")
        return self

    @property
    def whole(self) -> bool:
        return all(isinstance(end, int) for end in (self.low, self.high, self.step or 1))

    @property
    def ends(self) -> tuple[Any, ...]:
        """The choices, or the two ends of the range."""
        return self.choices or (self.low, self.high)
