"""What a model is mixed with, and how much: read from an artifact of the mix stage or a package.

The files are `mix.json` and the arrays of the counting model.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.counting.linear import Linear, seen_grams
from pipelines.counting.ngrams import NGrams
from pipelines.errors import DamagedError
from pipelines.files.small_files import read_object

SETTINGS = "mix.json"


@dataclass(frozen=True)
class ClassifierMixture:
    """NB-SVM beside a classifier. `weight` is its share if both logits had the same standard
    deviation; `factors` are what the network's logit and its own are multiplied by."""

    weight: float
    factors: tuple[float, float]
    counting: Linear
    name: str = "NB-SVM"

    def counted(self, texts: Sequence[str]) -> np.ndarray:
        """(texts,): the logits of NB-SVM."""
        return self.counting.logit(seen_grams(texts))

    def logit(self, own: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """(documents,): of the network and of NB-SVM, mixed."""
        return self.factors[0] * own + self.factors[1] * counted

    def write(self, folder: Path) -> None:
        self.counting.write(folder)
        settings = {"factors": self.factors, "intercept": self.counting.intercept}
        _write(folder, {"mix": "nb-svm", "weight": self.weight, "scaled": True} | settings)


@dataclass(frozen=True)
class LanguageMixture:
    """N-grams beside a language model: `weight` of each probability is theirs."""

    weight: float
    counting: NGrams

    @property
    def name(self) -> str:
        return f"{len(self.counting.grams)}-gram"

    @property
    def history(self) -> int:
        """How many tokens before the next one are read."""
        return len(self.counting.grams) - 1

    def probability(self, own: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Of the network and of the n-grams, mixed."""
        return (1 - self.weight) * own + self.weight * counted

    def write(self, folder: Path) -> None:
        self.counting.write(folder)
        _write(folder, {"mix": "n-gram", "weight": self.weight})


Mixture = ClassifierMixture | LanguageMixture


def _write(folder: Path, settings: dict[str, Any]) -> None:
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


class _Settings(BaseModel):
    """The contents of mix.json."""

    model_config = ConfigDict(allow_inf_nan=False)

    mix: Literal["nb-svm", "n-gram"]
    weight: Annotated[float, Field(ge=0, le=1)]
    factors: tuple[float, float] = (1.0, 0.0)
    intercept: float = 0.0
    scaled: bool = False  # packages of older versions lack it


def read_mixture(folder: Path, kind: str, vocabulary: int) -> Mixture:
    """That of a model of this kind and with so many ids.

    Raises DamagedError if the files do not belong together, OSError if one is missing.
    """
    try:
        found = _Settings.model_validate(read_object(folder / SETTINGS))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedError(f"{folder / SETTINGS}: {where}: {first['msg'].lower()}") from error
    if (found.mix == "nb-svm") != (kind == "classifier"):
        raise DamagedError(f"{folder}: {found.mix} is not for a {kind.replace('_', ' ')}")
    if found.mix == "nb-svm":
        counting = Linear.read(folder, found.intercept, found.scaled)
        return ClassifierMixture(found.weight, found.factors, counting)
    return LanguageMixture(found.weight, NGrams.read(folder, vocabulary))
