"""The description of a registered version, in Markdown: what it is, what it was trained on, how
good it is and where it is weak, and how to use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.baselines import baseline_line, mix_line
from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.stats.binary import wilson

Manifests = Mapping[str, Mapping[str, Any]]  # by stage
WEAKEST = 3  # slices
FEWEST = 20  # documents or tokens of a slice that is worth a line
READS = {"first": "its first", "last": "its last"}


def model_card(
    name: str,
    metric: str,
    metrics: Mapping[str, Any],
    above: Manifests,
    labels: tuple[str, ...],
    sample: bool,
) -> str:
    """`above` has the manifests of the stages that the version was made by."""
    parts = [
        _what(name, metrics, above, labels),
        _figures(metrics),
        _compared(metrics),
        _trained(above, "documents" if metrics["kind"] == "classifier" else "characters"),
        _weakest(metrics, metric),
        _limits(above, sample),
        _use(name, metrics["kind"]),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _what(name: str, metrics: Mapping[str, Any], above: Manifests, labels: tuple[str, ...]) -> str:
    cell = above["model"]["config"]["model.cell"]
    if metrics["kind"] == "language_model":
        return f"Predicts the next token of a text ({cell} language model of the pipeline {name})."
    shown = ", ".join(map(_code, labels[:10])) + (" …" if len(labels) > 10 else "")
    return f"Classifies texts as {shown} ({cell} classifier of the pipeline {name})."


def _figures(metrics: Mapping[str, Any]) -> str:
    rows = ["| on the test split | | 95% interval |", "|---|---|---|"]
    for name, value in metrics["headline"].items():
        if value is not None:
            rows.append(f"| {name.replace('_', ' ')} | {value:.4f} | {_interval(name, metrics)} |")
    return "\n".join(rows)


def _interval(name: str, metrics: Mapping[str, Any]) -> str:
    found, sums = metrics.get("intervals", {}).get(name), metrics.get("sums")
    if found is None and sums and name == "accuracy" and metrics["kind"] == "classifier":
        found = dict(zip(("low", "high"), wilson(sums["correct"], sums["documents"]), strict=True))
    return f"{found['low']:.4f} to {found['high']:.4f}" if found else ""


def _compared(metrics: Mapping[str, Any]) -> str:
    lines = filter(None, (baseline_line(metrics), mix_line(metrics)))
    return "Compared with counting: " + "; ".join(lines) + "." if metrics.get("baselines") else ""


def _trained(above: Manifests, unit: str) -> str:
    model, splits = above["model"], above["corpus"]["counts"]["splits"]
    sizes = ", ".join(f"{split} {one[unit]:,}" for split, one in splits.items())
    counts, seconds = model["counts"], sum(model["counts"]["epoch_seconds"])
    return (
        f"{unit.capitalize()}: {sizes}; sources: {', '.join(_sources(above['source']))}. "
        f"Trained on {model['created'][:10]} in {seconds:,.0f} s, "
        f"best epoch {counts['best_epoch']} of {counts['epochs']}, seed {model['seed']}."
    )


def _sources(source: Mapping[str, Any]) -> Iterator[str]:
    for name, origin in source["counts"].get("origins", {}).items():
        digest = origin.get("sha256", "")
        yield _code(name) + (f" (SHA-256 {digest[:12]}…)" if digest else "")


def _weakest(metrics: Mapping[str, Any], metric: str) -> str:
    """The slices with the worst value of the metric that decides."""
    found = [
        (row[metric], f"{kind.replace('_', ' ')} {_code(row['slice'])}")
        for kind, rows in metrics.get("slices", {}).items()
        for row in rows
        if row.get(metric) is not None and row.get("documents", row.get("tokens", 0)) >= FEWEST
    ]
    found.sort(key=lambda one: one[0], reverse=metric in LOWER_IS_BETTER)
    if not found:
        return ""
    listed = "; ".join(f"{which}: {value:.4f}" for value, which in found[:WEAKEST])
    return f"Weakest parts of the test split ({metric.replace('_', ' ')}): {listed}."


def _limits(above: Manifests, sample: bool) -> str:
    config, counts = above["tokens"]["config"], above["tokens"]["counts"]
    limits = [f"It knows {counts['vocabulary']:,} {config['tokens.kind']} tokens."]
    if config["tokens.max_tokens"]:
        limits.append(
            f"Of a text it reads {READS[config['tokens.keep']]} {config['tokens.max_tokens']:,}."
        )
    if sample:
        limits.insert(0, "**Trained on the small sample text: not for use.**")
    return "Limits: " + " ".join(limits)


def _use(name: str, kind: str) -> str:
    ask = "predict" if kind == "classifier" else "generate"
    load = f'mlflow.pyfunc.load_model("models:/{name}@champion").predict(frame)'
    return f"Use: `folio {ask} {name}`, `folio serve {name}`, or `{load}` with a column `text`."


def _code(text: str) -> str:
    """As code, so that nothing in it is Markdown."""
    return "`" + " ".join(str(text).replace("`", "'").split()) + "`"
