"""Whether a model beats counting: its figures against those of its best baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.declaration.model_sections import LOWER_IS_BETTER

DECIDES = {"classifier": "accuracy", "language_model": "bits_per_character"}
UNCLEAR = "not different from"
ALONE = "recurrent model alone"


@dataclass(frozen=True)
class Comparison:
    """A figure of the model and of `baseline`; `low` to `high` is the interval of their difference,
    None if an earlier version measured none. Above 0, `effect` is an improvement."""

    baseline: str
    metric: str
    model: float
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def effect(self) -> float:
        return self._sign * (self.model - self.value)

    @property
    def _sign(self) -> int:
        return -1 if self.metric in LOWER_IS_BETTER else 1

    @property
    def gain(self) -> tuple[float, float]:
        """`low` and `high` as improvements: of the effect alone if there is no interval."""
        if self.low is None or self.high is None:
            return self.effect, self.effect
        low, high = sorted((self._sign * self.low, self._sign * self.high))
        return low, high

    @property
    def said(self) -> str:
        """beats, behind, or not different from."""
        low, high = self.gain
        if low > 0:
            return "beats"
        return "behind" if high < 0 else UNCLEAR


def against_baselines(
    model: Mapping[str, float | None], baselines: Mapping[str, Any], metric: str
) -> Comparison | str | None:
    """The comparison with the baseline that is best in this metric, or why there is none.

    `model` and `baselines` are the figures in metrics.json. None without baselines, as in
    classifiers' metrics of earlier versions.
    """
    measured = {name: one for name, one in baselines.items() if one.get(metric) is not None}
    ours = model.get(metric)
    if not measured or ours is None:
        reasons = [one["not_measured"] for one in baselines.values() if "not_measured" in one]
        return next(iter(reasons), f"{metric} was not measured for both") if baselines else None
    pick = min if metric in LOWER_IS_BETTER else max
    name = pick(measured, key=lambda one: measured[one][metric])
    found = measured[name].get("difference", {}).get(metric, {})
    return Comparison(
        name, metric, ours, measured[name][metric], found.get("low"), found.get("high")
    )


def metrics_against_baselines(metrics: Mapping[str, Any]) -> Comparison | str | None:
    """By accuracy (classifiers) or bits per character; of the contents of metrics.json."""
    baselines = metrics.get("baselines")
    if not baselines:
        return None
    return against_baselines(metrics["headline"], baselines, DECIDES[metrics["kind"]])


def baseline_line(metrics: Mapping[str, Any]) -> str | None:
    """In one line whether the model beats counting; None for metrics without baselines."""
    found = metrics_against_baselines(metrics)
    if not isinstance(found, Comparison):
        return found and f"no baseline: {found}"
    better = found.effect >= 0
    if metrics["kind"] == "language_model":
        bits = f"% {'fewer' if better else 'more'} bits"
        return f"{found.said} its {found.baseline}: {_amount(found, 100 / found.value, bits)}"
    if found.said == UNCLEAR:
        points = f" points {'better' if better else 'worse'}"
        return f"{found.said} {found.baseline}: {_amount(found, 100, points)}"
    return f"{found.said} {found.baseline} by {_amount(found, 100, ' points')}"


def mix_line(metrics: Mapping[str, Any]) -> str | None:
    """In one line what the model is mixed with, and whether that beats the network alone; None if
    it is not mixed."""
    mix = metrics.get("mix")
    if mix is None:
        return None
    name = ALONE if metrics["kind"] == "language_model" else f"its {ALONE}"
    line = baseline_line({**metrics, "baselines": {name: metrics["alone"]}})
    return f"with {mix['with']}, weight {mix['weight']:.2f}: {line}"


def _amount(found: Comparison, scale: float, unit: str) -> str:
    """The size of the effect and its interval, in words."""
    scale = scale if found.effect >= 0 else -scale
    text = f"{scale * found.effect:.1f}{unit}"
    if found.low is None:
        return text
    low, high = sorted(scale * end for end in found.gain)
    return f"{text} ({low:.1f} to {high:.1f})"
