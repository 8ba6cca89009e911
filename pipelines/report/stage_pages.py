"""The results of a stage, to be read by people: Markdown pages with tables, samples, small plots.

Everything comes from the artifact's counts and from files with numbers; no text is read.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from pipelines.corpus.class_names import labels_of
from pipelines.declaration.data_sections import ALL_SPLITS
from pipelines.report.classifier_part import confused_pairs, confusion_cells
from pipelines.report.data_part import FEWEST_FOR_HISTOGRAM, document_lengths, documents_read
from pipelines.report.headline import headline_figures
from pipelines.report.links import report_address, run_address, version_address
from pipelines.report.page import shown_figure
from pipelines.report.plots.classifier import FEW_CLASSES, class_confusion, confusion_matrix
from pipelines.report.plots.data import length_histogram, padding_bars
from pipelines.report.plots.training import training_curves
from pipelines.report.visible import visible
from pipelines.store.artifacts import Artifact, Inputs

MOST_LISTED = 20  # labels
PICTURE_BYTES = 40_000  # maximum: pages are stored with their pictures


@dataclass(frozen=True)
class Page:
    """`name` identifies a pipeline's page, `title` describes it."""

    name: str
    title: str
    text: str


@dataclass(frozen=True)
class Link:
    """A link to more; `name` as in a Page."""

    name: str
    title: str
    address: str


def pages(artifact: Artifact, inputs: Inputs) -> list[Page]:
    """The pages of an artifact; `inputs` are those that its stage read."""
    describe = PAGES.get(artifact.stage)
    found = describe(artifact, inputs) if describe else []
    return [Page(page.name, page.title, visible(page.text)) for page in found]


def links(artifact: Artifact) -> list[Link]:
    """Links to more; empty if the environment sets no address."""
    if artifact.stage == "report":
        address = report_address(artifact.stage, artifact.key)
        return [Link("page", "The report", address)] if address else []
    if artifact.stage == "release":
        release = _read(artifact, "release.json")
        address = version_address(release["name"], release["version"])
        title = f"Version {release['version']} in MLflow"
        found = [Link("version", title, address)] if address else []
        if training := run_address(release.get("mlflow_run")):
            found.append(Link("training", "The run with its curves in MLflow", training))
        return found
    return []


def _corpus(artifact: Artifact, inputs: Inputs) -> list[Page]:
    counts = artifact.counts
    labelled = any(split.get("positives") for split in counts["splits"].values())
    splits = [
        [
            name,
            f"{split['documents']:,}",
            f"{split['characters']:,}",
            *([f"{split['positives']:,}"] if labelled else []),
        ]
        for name, split in counts["splits"].items()
    ]
    fates = []
    for fate, number, reasons in documents_read(
        counts, artifact.manifest["config"].get("corpus.length")
    ):
        why = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        fates.append([fate, f"{number:,}", why])
    header = ["split", "documents", "characters", *(["positive"] if labelled else [])]
    text = _blocks(
        table(header, splits),
        table(["of what was read", "documents", "why"], fates),
        _by_label(artifact) if len(labels_of(artifact)) > 2 else "",
    )
    return [
        Page("documents", "Documents by split, and what happened to those that were read", text)
    ]


def _by_label(artifact: Artifact) -> str:
    """The documents of the labels that most of train have."""
    splits = {name: split["by_label"] for name, split in artifact.counts["splits"].items()}
    rows = zip(labels_of(artifact), *splits.values(), strict=True)
    largest = sorted(rows, key=lambda row: -row[1])[:MOST_LISTED]
    return table(["label", *splits], [[name, *(f"{n:,}" for n in row)] for name, *row in largest])


def _tokens(artifact: Artifact, inputs: Inputs) -> list[Page]:
    counts = artifact.counts
    rows = [
        [
            split,
            f"{one['documents']:,}",
            f"{one['tokens']:,}",
            f"{one['longest']:,}",
            f"{one['unknown'] / max(one['tokens'], 1):.2%}",
            f"{one['truncated_documents']:,}",
        ]
        for split, one in _by_split(counts)
    ]
    header = ["split", "documents", "tokens", "longest", "unknown tokens", "truncated documents"]
    lengths = document_lengths(artifact)
    drawn = ""
    if min(numbers.sum() for numbers in lengths.values()) >= FEWEST_FOR_HISTOGRAM:
        cut = artifact.manifest["config"].get("tokens.max_tokens")
        drawn = picture("documents by length", length_histogram(lengths, cut, PICTURE_BYTES))
    text = _blocks(
        drawn,
        table(header, rows),
        f"The vocabulary has {counts['vocabulary']:,} tokens, learned only from train.",
    )
    return [Page("lengths", "Documents by length, tokens by split", text)]


def _batches(artifact: Artifact, inputs: Inputs) -> list[Page]:
    rows = [
        [
            split,
            f"{one['batches']:,}",
            f"{one['rows']:,}",
            f"{one['slots']:,}",
            f"{one['padding_share']:.1%}",
        ]
        for split, one in _by_split(artifact.counts)
    ]
    buckets = artifact.counts["train"].get("per_width", [])
    drawn, widths = "", ""
    if len(buckets) > 1:
        drawn = picture("padding by row width", padding_bars(buckets, PICTURE_BYTES))
        widths = table(
            ["train rows of width", "rows", "padding"],
            [
                [f"{one['width']:,}", f"{one['rows']:,}", f"{one['padding_share']:.1%}"]
                for one in buckets
            ],
        )
    header = ["split", "batches", "rows", "slots", "padding"]
    return [
        Page("padding", "Batches and their padding", _blocks(drawn, table(header, rows), widths))
    ]


def _model(artifact: Artifact, inputs: Inputs) -> list[Page]:
    history, counts = pq.read_table(artifact.path / "history.parquet"), artifact.counts
    classifier = artifact.manifest["config"]["model.kind"] == "classifier"
    unit = "nats per document" if classifier else "nats per token"
    drawn = picture(
        "loss by epoch", training_curves(history, counts.get("best_epoch"), unit, PICTURE_BYTES)
    )
    last = ", ".join(
        f"{name.replace('_', ' ')} {values[-1]:,.4g}"
        for name, values in history.to_pydict().items()
    )
    return [Page("loss", "Loss by epoch", _blocks(drawn, f"The last epoch: {last}."))]


def _metrics(artifact: Artifact, inputs: Inputs) -> list[Page]:
    metrics = _read(artifact, "metrics.json")
    rows = [
        [one["name"], one["value"], one["meaning"]] for one in headline_figures(metrics, inputs)
    ]
    drawn = ""
    if metrics["kind"] == "classifier":
        drawn = _predictions(metrics, labels_of(inputs["corpus"]))
    found = [
        Page(
            "figures",
            "Figures on the test text",
            _blocks(table(["figure", "value", ""], rows), drawn),
        )
    ]
    if metrics.get("samples"):
        texts = [
            f"temperature {one['temperature']}, seed {one['seed']}\n\n"
            + code_block(one["start"] + one["text"])
            for one in metrics["samples"]
        ]
        found.append(Page("samples", "Generated text, unselected", _blocks(*texts)))
    return found


def _predictions(metrics: dict[str, Any], names: Sequence[str]) -> str:
    """The confusion matrix; of many classes only those that are confused most."""
    cells, called = metrics["confusion"], "predictions by true class"
    if len(names) == 2:
        png = confusion_matrix(confusion_cells(cells), names[::-1], PICTURE_BYTES)
        return picture(called, png)
    confused = [
        [one["truth"], one["said"], f"{one['documents']:,}", f"{one['share']:.1%}"]
        for one in confused_pairs(cells, metrics["classes"])
    ]
    drawn = ""
    if len(names) <= FEW_CLASSES:
        drawn = picture(called, class_confusion(cells, names, PICTURE_BYTES))
    return _blocks(drawn, table(["truly", "predicted", "documents", "share"], confused))


def _release(artifact: Artifact, inputs: Inputs) -> list[Page]:
    release = _read(artifact, "release.json")
    metric = release["metric"]
    rows = [
        ["version", release["version"]],
        ["champion now", release["champion"] or "none"],
        [metric.replace("_", " "), shown_figure(release["value"], metric)],
        ["better than the previous champion", shown_figure(release["champion_value"], metric)],
    ]
    if release["sample"]:
        rows.append(["trained on", "the small sample text: only for testing"])
    text = _blocks(f"**{release['verdict']}**: {release['reason']}", table(["", ""], rows))
    return [Page("verdict", "Whether the model is the champion now", text)]


PAGES: dict[str, Callable[[Artifact, Inputs], list[Page]]] = {
    "corpus": _corpus,
    "tokens": _tokens,
    "batches": _batches,
    "model": _model,
    "metrics": _metrics,
    "release": _release,
}


def _by_split(counts: dict[str, Any]) -> Iterable[tuple[str, dict[str, Any]]]:
    return ((split, counts[split]) for split in ALL_SPLITS if split in counts)


def _read(artifact: Artifact, name: str) -> dict[str, Any]:
    return json.loads((artifact.path / name).read_bytes())


# Markdown


def _blocks(*blocks: str) -> str:
    return "\n\n".join(filter(None, blocks))


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns of numbers are right-aligned."""
    rules = [
        "---:" if all(str(cell)[:1].isdigit() for cell in column) else "---"
        for column in zip(*rows, strict=True)
    ]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in (header, rules, *rows))


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def picture(name: str, png: bytes) -> str:
    return f"![{name}](data:image/png;base64,{base64.b64encode(png).decode()})"


def code_block(text: str) -> str:
    """The text unchanged, whatever it contains: the fence is longer than any in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"
