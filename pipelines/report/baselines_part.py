"""The report's part on baselines: their figures, and by how much the model's differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.baselines import ALONE, DECIDES
from pipelines.report.verdict_part import signed


def baseline_rows(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The measured baselines, what is mixed with counting alone, and, last, the model; `difference`
    and `interval` as on the page.

    Empty without baselines, as in classifiers' metrics of earlier versions; those of language
    models had no intervals.
    """
    metric, model, mix = DECIDES[metrics["kind"]], metrics["headline"], metrics.get("mix")
    rows, others = [], metrics.get("baselines", {})
    for name, figures in (others | ({ALONE: metrics["alone"]} if mix else {})).items():
        if "not_measured" not in figures:
            spread = figures.get("difference", {}).get(metric)
            shown = {
                "name": name,
                "difference": signed(metric, model[metric] - figures[metric]),
                "interval": signed(metric, spread["low"], spread["high"]) if spread else "—",
            }
            rows.append(figures | shown)
    name = f"this model, with {mix['with']}" if mix else "this model"
    own = {"name": name, "difference": "", "interval": ""}
    return [*rows, metrics["sums"] | model | own] if rows else []
