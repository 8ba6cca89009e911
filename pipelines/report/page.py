"""Turns values into an HTML page: templates, escaping, pictures, and number formats."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipelines.report.visible import visible

TEMPLATES = Path(__file__).parent / "templates"
WIDE = 6  # columns; fewer fit
TABLE = re.compile(r"<table>(.*?<thead><tr>)(.*?)(</tr></thead>.*?)</table>", re.S)
HEAD = re.compile(r"<th\b[^>]*>(.*?)</th>", re.S)
ROW = re.compile(r"<tr\b[^>]*>.*?</tr>", re.S)
CELL = re.compile(r"<t[hd]\b")
TAG = re.compile(r"<[^>]+>")
REPORT = "report.html"  # the page on a model
# The name and format of each headline figure, and what it means.
HEADLINES = {
    "accuracy": ("Accuracy", "{:.1%}", "of the test documents are labelled correctly"),
    "log_loss": ("Log loss", "{:.4f}", "nats per document: 0 is perfect, 0.693 is random guessing"),
    "roc_auc": (
        "ROC AUC",
        "{:.4f}",
        "the probability that a positive document scores above a negative one",
    ),
    "macro_f1": (
        "Macro F1",
        "{:.1%}",
        "the mean over the classes of F1, the harmonic mean of precision and recall",
    ),
    "bits_per_character": (
        "Bits per character",
        "{:.3f}",
        "to encode the test text: lower is better, and comparable for any kind of tokens",
    ),
    "nats_per_character": ("Nats per character", "{:.3f}", "the same in nats: 1 nat is 1.443 bits"),
    "perplexity": (
        "Perplexity",
        "{:.2f}",
        "as uncertain about the next token as among this many equally likely ones",
    ),
}


class Pictures:
    """Writes each plot to a file and keeps it as a data: URI for the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uris: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, png: bytes) -> None:
        (self.folder / f"{name}.png").write_bytes(png)
        self.uris[name] = f"data:image/png;base64,{base64.b64encode(png).decode()}"


@cache  # compiling the templates takes half a second
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": _count,
        "percent": _percent,
        "interval": _interval,
        "seconds": _seconds,
        "megabytes": _megabytes,
        "moment": moment,
        "figure": shown_figure,
        "json": _json,
        "called": lambda name: headline(name)[0].lower(),
    }
    return environment


def render(template: str, **values: Any) -> str:
    """The page from a template in `templates/`, or given as text; every value is escaped, and made
    visible.

    Raises jinja2.UndefinedError if the template needs a value that is not given.
    """
    environment = _environment()
    found = (
        environment.get_template(template)
        if template.endswith(".html")
        else environment.from_string(template)
    )
    return visible(found.render(**values))


def headline(name: str) -> tuple[str, str, str]:
    """A figure's name, its format, and what it means."""
    return HEADLINES.get(name, (name.replace("_", " "), "{:.4g}", ""))


def shown_figure(value: float | None, name: str) -> str:
    return "—" if value is None else headline(name)[1].format(value)


def _count(value: float | None) -> str:
    return "—" if value is None else f"{value:,.0f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "—" if value is None else f"{value:.{digits}%}"


def _interval(row: Mapping[str, float]) -> str:
    return f"{100 * row['low']:.1f}\u2013{row['high']:.1%}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "—"
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def moment(time: str | None) -> str:
    """2026-01-31T04:05:06Z to the minute."""
    return "—" if time is None else time[:16].replace("T", " ")


def _megabytes(value: float | None) -> str:
    return "—" if value is None else f"{value / 1e6:,.0f} MB"


def _json(value: Any) -> str:
    """As in a declaration; escaping for the page comes later."""
    return json.dumps(value, ensure_ascii=False)


def stacked(page: str) -> str:
    """The page, rendered from a template of ours, with wide tables ready for a phone: each cell
    repeats the head of its column, and where the screen is narrow, the style sheet puts the cells
    of a row under one another."""
    return TABLE.sub(_stacked, page)


def _stacked(table: re.Match[str]) -> str:
    before, head, rest = table.groups()
    names = [TAG.sub("", name) for name in HEAD.findall(head)]
    if len(names) < WIDE or "<table" in before:
        return table[0]
    rows = ROW.sub(lambda row: _labelled(row[0], names), rest)
    return f'<table class="stacked">{before}{head}{rows}</table>'


def _labelled(row: str, names: list[str]) -> str:
    labels = iter(names)

    def cell(start: re.Match[str]) -> str:
        name = next(labels, "")
        return f'{start[0]} data-label="{name}"' if start[0] == "<td" else start[0]

    return CELL.sub(cell, row)
