"""The report's part on the verdict: both models side by side, and how certain the difference is.

Everything comes from release.json, and for the figures from metrics.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.baselines import Comparison, metrics_against_baselines
from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.report.metric_chart import nice_ticks
from pipelines.report.page import headline, shown_figure
from pipelines.stats.binary import chance_figures

SHARES = ("accuracy", "macro_f1")  # whose differences are in percentage points
WIDTH, HEIGHT, LEFT, RIGHT, AXIS = 560, 92, 24, 536, 56  # of the picture of the interval


def verdict_section(release: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The page's values on the verdict."""
    return {
        "title": title(release),
        "rows": figure_rows(release, metrics),
        "reference": _reference(metrics)[0],
        "chart": _chart(release["evidence"], release["margin"]),
    }


def title(release: Mapping[str, Any]) -> str:
    """The verdict in a few words."""
    version, champion = release["version"], release["champion"]
    if release["verdict"] == "promote":
        return f"Promoted: version {version} is champion"
    if release["verdict"] == "waits":
        promote = f"folio promote {release['name']} {version}"
        return f"Version {version} waits for approval: {promote}"
    stays = f"version {champion} stays champion" if champion else "there is no champion"
    return f"{'Rejected' if release['verdict'] == 'reject' else 'Inconclusive'}: {stays}"


def figure_rows(release: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{called, decides, ours, champion, reference, difference, interval}], as shown on the page;
    None for unknown values."""
    evidence = release["evidence"]
    deciding = evidence["metric"] if evidence else release["metric"]
    recorded = release["before"]["figures"] if release["before"] else {}
    _, counted = _reference(metrics)
    # The macro F1 of two classes is a figure only where it decides.
    figures = metrics["headline"] | {release["metric"]: release["value"]}
    return [
        {
            "called": headline(name)[0],
            "decides": name == deciding,
            "reference": _shown(counted.get(name), name),
            **_compared(name, value, recorded.get(name), evidence),
        }
        for name, value in figures.items()
    ]


def _compared(
    name: str, ours: float | None, recorded: float | None, evidence: Mapping[str, Any] | None
) -> dict[str, str | None]:
    """{ours, champion, difference, interval} of a figure; `recorded` is from the champion's own
    evaluation, which is less reliable: it may have used another text."""
    measured = {evidence["metric"]: evidence, **evidence["others"]} if evidence else {}
    found = measured.get(name, {})
    if evidence and evidence["rescored"]:
        recorded = None
    ours, champion = found.get("challenger", ours), found.get("champion", recorded)
    difference = found.get("effect")
    if difference is None and evidence and None not in (ours, champion):
        difference = ours - champion  # on the same text, but without an interval
    return {
        "ours": _shown(ours, name),
        "champion": _shown(champion, name),
        "difference": None if difference is None else signed(name, difference),
        "interval": signed(name, found["low"], found["high"]) if found else None,
    }


def _shown(value: float | None, name: str) -> str | None:
    return None if value is None else shown_figure(value, name)


def signed(name: str, *values: float) -> str:
    """A difference of figures, or its two ends; shares in percentage points, 0.01 being one."""
    if name in SHARES:
        return f"{' to '.join(f'{100 * value:+.2f}' for value in values)} points"
    decimals = 3 if name == "perplexity" else 4
    return " to ".join(f"{value:+.{decimals}f}" for value in values)


def _reference(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, float]]:
    """What the model has to beat: its best baseline, or, if there is none, always predicting the
    majority class."""
    best = metrics_against_baselines(metrics)
    if isinstance(best, Comparison):
        return best.baseline, metrics["baselines"][best.baseline]
    return "majority-class baseline", chance_figures(_documents(metrics))


def _documents(metrics: Mapping[str, Any]) -> list[int]:
    """Of each class."""
    if "classes" in metrics:
        return [row["documents"] for row in metrics["classes"]]
    cells = (("true_negative", "false_positive"), ("true_positive", "false_negative"))
    return [sum(metrics["confusion"][cell] for cell in row) for row in cells]


def _chart(evidence: Mapping[str, Any] | None, margin: float) -> dict[str, Any] | None:
    """The positions of the interval's marks, from `LEFT` to `RIGHT`; better is to the right."""
    if evidence is None:
        return None
    metric = evidence["metric"]
    ends = [evidence["low"], evidence["high"], 0.0, -margin, margin]
    ticks = nice_ticks(min(ends), max(ends))
    start, end = (RIGHT, LEFT) if metric in LOWER_IS_BETTER else (LEFT, RIGHT)

    def x(value: float) -> float:
        return round(start + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (end - start), 1)

    band = sorted((x(-margin), x(margin)))
    called = headline(metric)[0].lower()
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": RIGHT,
        "axis": AXIS,
        "zero": x(0.0),
        "middle": x(evidence["effect"]),
        "low": min(x(evidence["low"]), x(evidence["high"])),
        "high": max(x(evidence["low"]), x(evidence["high"])),
        "band": {"x": band[0], "width": round(band[1] - band[0], 1)} if margin else None,
        "ticks": [{"x": x(tick), "text": _tick(tick, metric)} for tick in ticks],
        "unit": f"difference in {called}{', points' if metric in SHARES else ''}",
        "says": f"{called}: {signed(metric, evidence['effect'])}, interval "
        f"{signed(metric, evidence['low'], evidence['high'])}",
    }


def _tick(value: float, metric: str) -> str:
    shown = 100 * value if metric in SHARES else value
    return "0" if not shown else f"{shown:+.6g}"
