"""The report with its verdict: the page that evaluation wrote, and what the release adds to it.

Evaluation knows no champion, so that its page hangs on the model alone; the release knows both.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.declaration.model_sections import LOWER_IS_BETTER, RegistrySpec
from pipelines.errors import FolioError
from pipelines.registry.lookup import figures_of
from pipelines.registry.versions import Version
from pipelines.release.candidate import lineage
from pipelines.release.drift import from_version
from pipelines.report import data_part
from pipelines.report.metric_chart import nice_ticks
from pipelines.report.page import REPORT, headline, render, shown_figure
from pipelines.stages import NAMES
from pipelines.stats.binary import chance_figures
from pipelines.store.artifacts import Inputs, Store

# Where the page has room, and what goes there. It escapes all text, so no text can be such a mark.
PARTS = {
    "<!-- verdict -->": "verdict.html",
    "<!-- drift -->": "drift.html",
    "<!-- verdict link -->": '<a href="#verdict">Verdict</a>',
    "<!-- drift link -->": '<a href="#drift">Drift</a>',
    "<!-- drawing -->": '<div class="graph">\n{{ drawing|safe }}\n</div>',
    "<!-- cost -->": "cost.html",
    "<!-- again -->": "again.html",
    "<title>Report</title>": "<title>{{ release.name }}: report</title>",
    "<!-- name -->": ": {{ release.name }}",
    "<!-- profile -->": ', profile {{ model.profile or "not known" }}',
    "<!-- made -->": "The model was made {{ model.created|moment }} UTC.",
}
WIDTH, HEIGHT, LEFT, RIGHT, AXIS = 560, 92, 24, 536, 56  # of the picture of the interval


def write_released_report(
    out: Path,
    release: Mapping[str, Any],
    metrics: Mapping[str, Any],
    inputs: Inputs,
    champion: Version | None,
    spec: RegistrySpec,
    store: Store,
) -> None:
    """Write `report.html` into `out`: that of the metrics artifact, with the verdict on top.

    `release` is what release.json holds, `metrics` what metrics.json does; `champion` was so
    before. Nothing is written where the metrics have no page.
    """
    source = inputs["metrics"].path / REPORT
    if not source.is_file():
        return
    page = source.read_text(encoding="utf-8")
    before = champion if champion and champion.number != release["version"] else None
    values = {
        "release": release,
        "title": title(release),
        "before": before,
        "rows": figure_rows(release, metrics, before),
        "spec": spec,
        "reference": _reference(metrics)[0],
        "chart": _chart(release["evidence"], spec),
        "drift": _drift(release, inputs, champion, store),
        "drawing": data_part.drawing(store, inputs["metrics"]),
        **_made(lineage(inputs)),
    }
    for mark, part in PARTS.items():
        page = page.replace(mark, render(part, **values), 1)
    (out / REPORT).write_text(page, encoding="utf-8")


def _made(above: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """When, by which run and at what cost: {made, model, training} of the manifests by stage."""
    unknown = dict.fromkeys(
        ("profile", "run", "git_commit", "created", "wall_seconds", "peak_memory_bytes")
    )
    made = [unknown | above[stage] | {"stage": stage} for stage in NAMES if stage in above]
    counts = above["model"].get("counts", {})
    epochs = counts.get("epoch_seconds") or [0.0]
    return {
        "made": made,
        "model": unknown | above["model"],
        "training": {
            "seconds": sum(epochs),
            "epoch": sum(epochs) / len(epochs),
            "resumed": counts.get("resumed", False),
        },
    }


def title(release: Mapping[str, Any]) -> str:
    """The verdict in a few words."""
    version, champion = release["version"], release["champion"]
    if release["verdict"] == "promote":
        return f"Promoted: version {version} is champion"
    stays = f"version {champion} stays champion" if champion else "there is no champion"
    return f"{'Rejected' if release['verdict'] == 'reject' else 'Inconclusive'}: {stays}"


def figure_rows(
    release: Mapping[str, Any], metrics: Mapping[str, Any], champion: Version | None
) -> list[dict[str, Any]]:
    """[{called, decides, ours, champion, reference, difference, interval}], as the page shows
    them; None of what is not known."""
    evidence = release["evidence"]
    deciding = evidence["metric"] if evidence else release["metric"]
    recorded = figures_of(champion) if champion else None
    _, counted = _reference(metrics)
    return [
        {
            "called": headline(name)[0],
            "decides": name == deciding,
            "reference": _shown(counted.get(name), name),
            **_compared(name, value, recorded and recorded.value(name), evidence),
        }
        for name, value in metrics["headline"].items()
    ]


def _compared(
    name: str, ours: float | None, recorded: float | None, evidence: Mapping[str, Any] | None
) -> dict[str, str | None]:
    """{ours, champion, difference, interval} of a figure; `recorded` is what the champion's own
    evaluation said, which counts for less: it may have been of another text."""
    measured = {evidence["metric"]: evidence, **evidence["others"]} if evidence else {}
    found = measured.get(name, {})
    if evidence and evidence["rescored"]:
        recorded = None
    ours, champion = found.get("challenger", ours), found.get("champion", recorded)
    difference = found.get("effect")
    if difference is None and evidence and None not in (ours, champion):
        difference = ours - champion  # on the same text, but how surely was not asked
    return {
        "ours": _shown(ours, name),
        "champion": _shown(champion, name),
        "difference": None if difference is None else signed(name, difference),
        "interval": signed(name, found["low"], found["high"]) if found else None,
    }


def _shown(value: float | None, name: str) -> str | None:
    return None if value is None else shown_figure(value, name)


def signed(name: str, *values: float) -> str:
    """A difference of figures, or its two ends; of shares in points, 0.01 being one."""
    if name == "accuracy":
        return f"{' to '.join(f'{100 * value:+.2f}' for value in values)} points"
    decimals = 3 if name == "perplexity" else 4
    return " to ".join(f"{value:+.{decimals}f}" for value in values)


def _reference(metrics: Mapping[str, Any]) -> tuple[str, Mapping[str, float]]:
    """What the model has to beat: the best of counting, or saying the commoner class always."""
    if metrics["kind"] == "classifier":
        return "one answer for all", chance_figures(metrics["confusion"])
    return min(metrics["baselines"].items(), key=lambda one: one[1]["bits_per_character"])


def _chart(evidence: Mapping[str, Any] | None, spec: RegistrySpec) -> dict[str, Any] | None:
    """Where the marks of the interval go, from `LEFT` to `RIGHT`; better is to the right."""
    if evidence is None:
        return None
    metric, margin = evidence["metric"], spec.margin
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
        "unit": f"difference in {called}{', points' if metric == 'accuracy' else ''}",
        "says": f"{called}: {signed(metric, evidence['effect'])}, interval "
        f"{signed(metric, evidence['low'], evidence['high'])}",
    }


def _tick(value: float, metric: str) -> str:
    shown = 100 * value if metric == "accuracy" else value
    return "0" if not shown else f"{shown:+.6g}"


def _drift(
    release: Mapping[str, Any], inputs: Inputs, champion: Version | None, store: Store
) -> dict[str, Any] | str:
    """As `drift.from_version`, or why there is nothing to compare."""
    if champion is None:
        return "There was no champion before, and so no earlier training text to compare with."
    try:
        found = from_version(champion, store, release["sample"], inputs["corpus"], inputs["tokens"])
    except (FolioError, OSError, KeyError) as error:  # an artifact of an earlier Folio
        found = f"its text is not readable ({type(error).__name__}: {error})"
    return (
        found
        if isinstance(found, dict)
        else (
            f"This text is not compared with that of champion version {champion.number}: {found}."
        )
    )
