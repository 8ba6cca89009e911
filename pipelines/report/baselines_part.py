"""The report's part on baselines: their figures, and by how much the model's differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.baselines import DECIDES
from pipelines.report.verdict_part import signed


def baseline_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The measured baselines and, last, the model; `difference` and `interval` as on the page.

    Empty without baselines, as in classifiers' metrics of earlier versions; those of language
    models had no intervals.
    """
    metric, model = DECIDES[metrics["kind"]], metrics["headline"]
    rows = []
    for name, figures in metrics.get("baselines", {}).items():
        if "not_measured" not in figures:
            spread = figures.get("difference", {}).get(metric)
            shown = {
                "name": name,
                "difference": signed(metric, model[metric] - figures[metric]),
                "interval": signed(metric, spread["low"], spread["high"]) if spread else "—",
            }
            rows.append(figures | shown)
    own = {"name": "this model", "difference": "", "interval": ""}
    return [*rows, metrics["sums"] | model | own] if rows else []
