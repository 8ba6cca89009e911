"""Decides whether a challenger becomes champion. Pure: the registry carries the verdict out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pipelines.spec import RegistrySpec


@dataclass(frozen=True)
class Figures:
    """What was measured of one version on the held-out text, and whether it is a sample's."""

    values: Mapping[str, float | None]
    sample: bool = False
    version: int | None = None

    def value(self, metric: str) -> float | None:
        """The figure, or None when it was not measured or is no finite number."""
        value = self.values.get(metric)
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True)
class Verdict:
    verdict: Literal["promote", "reject"]
    reason: str


def decide(challenger: Figures, champion: Figures | None, spec: RegistrySpec) -> Verdict:
    """Promote the challenger, or keep the champion, and why in one sentence.

    In this order: a model of real text must reach the floor; a sample never outranks real text
    and real text always outranks a sample; else the better figure wins and a tie changes nothing.
    The floor is for real text: a sample, which serves only until there is such, need not reach it.
    """
    new = challenger.value(spec.metric)
    if new is None:
        return Verdict("reject", f"{spec.metric} was not measured on this model")
    figure = f"{spec.metric} {_shown(new)}"
    if not challenger.sample and spec.floor is not None and _better(spec.floor, new, spec):
        side = "over" if spec.lower_is_better else "under"
        return Verdict("reject", f"{figure} is {side} the floor {_shown(spec.floor)}")
    if champion is None:
        trained = " on the sample text" if challenger.sample else ""
        return Verdict("promote", f"{figure}{trained}, and there was no champion")
    return _against(champion, challenger.sample, new, figure, spec)


def _against(champion: Figures, sample: bool, new: float, figure: str,
             spec: RegistrySpec) -> Verdict:
    old = champion.value(spec.metric)
    shown = "none" if old is None else _shown(old)
    held = f"{shown} of champion version {champion.version}"
    if sample and not champion.sample:
        return Verdict("reject", f"{figure} on the sample text does not count against {held}, "
                       "which was trained on real text")
    if champion.sample and not sample:
        return Verdict("promote", f"{figure} on real text outranks {held}, "
                       "which was trained on the sample text")
    if old is None:
        return Verdict("reject", f"{figure} has nothing to be compared with: {spec.metric} was not "
                       f"measured on champion version {champion.version}")
    if _better(new, old, spec):
        return Verdict("promote", f"{figure} is better than {held}")
    return Verdict("reject", f"{figure} is not better than {held}")


def _better(one: float, other: float, spec: RegistrySpec) -> bool:
    return one < other if spec.lower_is_better else one > other


def _shown(value: float) -> str:
    return f"{value:.6g}"
