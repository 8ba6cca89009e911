"""The report's part on a language model: baselines, loss by context, and generated text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.declaration.slices import LABELS
from pipelines.report.baselines_part import baseline_rows
from pipelines.report.page import Pictures
from pipelines.report.plots.comparison import by_slice
from pipelines.report.plots.language_model import baseline_bars, loss_by_position

FEW_TOKENS = 500  # with fewer, the mean varies by a tenth of a nat between texts
GENERATED = {
    "known": "{units} known from training",
    "new_3": "new sequences of 3 {units}",
    "new_4": "new sequences of 4 {units}",
    "new_string": "new sequences of 10 characters",
    "distinct_1": "distinct {units} (distinct-1)",
    "distinct_2": "distinct sequences of 2 {units} (distinct-2)",
    "distinct_3": "distinct sequences of 3 {units} (distinct-3)",
}


def language_section(metrics: Mapping[str, Any], pictures: Pictures) -> dict[str, Any]:
    """The page's values on a language model; draws its plots."""
    rows = list(_by_position(metrics["by_position"]))
    if len(rows) > 1:
        mean = metrics["sums"]["nats"] / metrics["sums"]["tokens"]
        pictures.add("loss-by-context", loss_by_position(rows, mean))
    slices = {name: found for name, found in metrics["slices"].items() if len(found) > 1}
    for name, found in slices.items():
        pictures.add(
            f"by-{name.replace('_', '-')}",
            by_slice(
                found,
                "bits_per_character",
                metrics["headline"]["bits_per_character"],
                LABELS[name],
                "bits per character",
            ),
        )
    compared = baseline_rows(metrics)
    pictures.add("baselines", baseline_bars(compared))
    return {
        "by_position": rows,
        "few_tokens": FEW_TOKENS,
        "compared": compared,
        "counted": next(iter(metrics["baselines"].values())),
        "slices": slices,
        "slice_labels": LABELS,
        "generated": _generated(metrics["generated"]),
        "samples": _samples(metrics["samples"]),
    }


def _samples(samples: Sequence[Mapping[str, Any]]) -> list[tuple[float, list[Mapping[str, Any]]]]:
    """(temperature, its samples)."""
    found: dict[float, list[Mapping[str, Any]]] = {}
    for one in samples:
        found.setdefault(one["temperature"], []).append(one)
    return list(found.items())


def _generated(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The figures as rows, with a column per temperature and the last one for held-out text."""
    if found is None:
        return None
    texts = found["texts"]
    columns = [name for name in texts if name != "held_out"]
    rows = [
        {
            "name": name.format(units=found["unit"]),
            "shares": [texts[column][key]["share"] for column in [*columns, "held_out"]],
        }
        for key, name in GENERATED.items()
    ]
    copies = [
        {"of": "test text" if name == "held_out" else f"temperature {name}"} | one
        for name, one in found["longest_copy"].items()
    ]
    return {"rows": rows, "temperatures": columns, "copies": copies} | {
        key: found[key] for key in ("unit", "units", "train_characters")
    }


def _by_position(bins: Mapping[str, list[float]]) -> Iterator[dict[str, Any]]:
    edges = bins["edges"]
    names = [_between(low, high) for low, high in zip([0, *edges], [*edges, None], strict=True)]
    for name, tokens, nats in zip(names, bins["tokens"], bins["nats"], strict=True):
        if tokens:
            yield {
                "context": name,
                "tokens": int(tokens),
                "few": tokens < FEW_TOKENS,
                "nats_per_token": nats / tokens,
                "bits_per_token": nats / tokens / math.log(2),
            }


def _between(low: float, high: float | None) -> str:
    if high is None:
        return f"{low:,} and more"
    return f"{low:,}" if high == low + 1 else f"{low:,} to {high - 1:,}"
