"""The measured figures of a model, as the gate and the registry compare them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figures:
    """The measured figures of one version on held-out text, and whether it was trained on a sample.

    `slices` and `baselines` are those of metrics.json, `classes` the documents of each class that
    are labelled correctly, and all; `withdrawn` says when a person rolled this version back.
    """

    values: Mapping[str, float | None]
    sample: bool = False
    version: int | None = None
    slices: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    baselines: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    classes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    withdrawn: str | None = None

    def value(self, metric: str) -> float | None:
        """The figure, or None if it was not measured or is not a finite number."""
        value = self.values.get(metric)
        return value if value is not None and math.isfinite(value) else None
