"""The report's part on data and provenance: splits, padding, lineage, libraries, settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.declaration.data_sections import ALL_SPLITS, SPLITS
from pipelines.report.lineage_drawing import picture
from pipelines.report.page import Pictures
from pipelines.report.plots.data import length_histogram, padding_bars
from pipelines.stages import NAMES
from pipelines.store.artifacts import Artifact, Inputs, Store
from pipelines.store.lineage import Graph, stored
from pipelines.tokens.lengths import documents_by_length

FEWEST_FOR_HISTOGRAM = 20  # documents: fewer make no useful plot


def data_section(inputs: Inputs, pictures: Pictures) -> dict[str, Any]:
    """Documents, lengths and padding of each split; draws their plots."""
    corpus, tokens, batches = (inputs[name].counts for name in ("corpus", "tokens", "batches"))
    lengths = document_lengths(inputs["tokens"])
    if min(counts.sum() for counts in lengths.values()) >= FEWEST_FOR_HISTOGRAM:
        cut = inputs["tokens"].manifest["config"].get("tokens.max_tokens")
        pictures.add("lengths", length_histogram(lengths, cut))
    buckets = batches["train"].get("per_width", [])
    if len(buckets) > 1:
        pictures.add("padding", padding_bars(buckets))
    kept = corpus.get("splits", {})
    present = [split for split in ALL_SPLITS if split in tokens]
    splits = [{"split": split} | kept.get(split, {}) | tokens[split] for split in present]
    length = inputs["corpus"].manifest["config"].get("corpus.length")
    return {
        "splits": splits,
        "vocabulary": tokens["vocabulary"],
        "read": documents_read(corpus, length),
        "leaks": _leaks(inputs["corpus"]),
        "ignored": corpus.get("ignored", {}),
        "notices": [*corpus.get("notices", []), *tokens.get("notices", [])],
        "buckets": buckets,
        "batches": {split: batches[split] for split in present},
    }


def documents_read(
    corpus: Mapping[str, Any], length: Sequence[int] | None
) -> list[tuple[str, int, dict[str, int]]]:
    """(fate, documents, how many of them for which reason), those before the last adding up to it;
    empty if the counts are not known."""
    if "read" not in corpus:
        return []
    left_out = dict(corpus.get("left_out", {}))
    if length:
        whys = {"too short": f"fewer than {length[0]:,}", "too long": f"more than {length[1]:,}"}
        left_out = {
            f"{why}: {whys[why]} characters" if why in whys else why: number
            for why, number in left_out.items()
        }
    fates = [
        ("kept", corpus["kept"], {}),
        ("quarantined", corpus["quarantined"], corpus.get("reasons", {})),
        ("left out", sum(left_out.values()), left_out),
        ("read", corpus["read"], {}),
    ]
    return [fate for fate in fates if fate[0] != "left out" or left_out]


def _leaks(corpus: Artifact) -> dict[str, Any] | None:
    """How many documents nearly repeat a test document, and whether they were left out; None if
    this was not checked."""
    found = corpus.counts.get("near_duplicates")
    dropped = corpus.manifest["config"].get("corpus.duplicates") == "drop"
    return None if found is None else {**found, "total": sum(found.values()), "dropped": dropped}


def document_lengths(tokens: Artifact) -> dict[str, np.ndarray]:
    """{split: documents per length in tokens, before truncation}."""
    return {split: documents_by_length(tokens, split) for split in SPLITS}


def lineage(inputs: Inputs) -> list[dict[str, Any]]:
    """[{stage, key, inputs}] of the artifacts that the page was made from, upstream first. For the
    source only the content is certain: that artifact may have other keys, or be gone."""
    return [
        {"stage": stage, "key": inputs[stage].key, "inputs": inputs[stage].manifest["inputs"]}
        for stage in NAMES
        if stage in inputs
    ]


def drawing(inputs: Inputs) -> str:
    """The lineage, as far as the store has it."""
    graph, above = _above(inputs)
    return picture(graph, above, "The stages and their inputs")


def cost(inputs: Inputs) -> dict[str, Any]:
    """When, by which run and at what cost: {stages, model, training} from the manifests."""
    unknown = dict.fromkeys(
        ("profile", "run", "git_commit", "created", "wall_seconds", "peak_memory_bytes")
    )
    stages = {one.stage: one.manifest for one in (*_above(inputs)[1], *inputs.values())}
    counts = inputs["model"].counts
    epochs = counts.get("epoch_seconds") or [0.0]
    return {
        "stages": [unknown | stages[name] for name in NAMES if name in stages],
        "model": unknown | stages["model"],
        "training": {
            "seconds": sum(epochs),
            "epoch": sum(epochs) / len(epochs),
            "resumed": counts.get("resumed", False),
        },
    }


def _above(inputs: Inputs) -> tuple[Graph, list[Artifact]]:
    """The last of the inputs, and everything upstream."""
    graph = Graph(stored(Store(inputs["metrics"].path.parent.parent)))
    return graph, graph.above([inputs.get("release", inputs["metrics"])])


def origins(inputs: Inputs) -> list[tuple[str, str]]:
    """Versions of Python and the libraries. If stages differ, each lists its stages."""
    order = [name for name in NAMES if name in inputs]
    values: dict[str, dict[str, list[str]]] = {}
    for stage in order:
        libraries = inputs[stage].manifest["libraries"]
        for name in sorted(libraries, key=lambda name: (name != "python", name)):
            values.setdefault(name, {}).setdefault(libraries[name], []).append(stage)
    return [(name, _agreed(found)) for name, found in values.items()]


def _agreed(found: Mapping[str, list[str]]) -> str:
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{value} ({', '.join(stages)})" for value, stages in found.items())


def settings(inputs: Inputs) -> list[tuple[str, Any]]:
    """The declared values that determined the artifacts' bytes, in the order of the stages."""
    merged: dict[str, Any] = {}
    for name in NAMES:
        if name in inputs:
            merged |= inputs[name].manifest["config"]
    return list(merged.items())
