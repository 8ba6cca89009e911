"""The measured figures of a model, as the gate and the registry compare them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figures:
    """What was measured of one version on the held-out text, and whether it is a sample's.

    `slices` are those of metrics.json; `withdrawn` says when a person rolled this version back.
    """

    values: Mapping[str, float | None]
    sample: bool = False
    version: int | None = None
    slices: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    withdrawn: str | None = None

    def value(self, metric: str) -> float | None:
        """The figure, or None when it was not measured or is no finite number."""
        value = self.values.get(metric)
        return value if value is not None and math.isfinite(value) else None
