"""Turns values into an HTML page: templates, escaping, pictures, and how numbers are written."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


class Pictures:
    """Writes each plot to a file and keeps it as a data: URI for the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uris: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, name: str, png: bytes) -> None:
        (self.folder / f"{name}.png").write_bytes(png)
        self.uris[name] = f"data:image/png;base64,{base64.b64encode(png).decode()}"


def render(template: str, **values: Any) -> str:
    """The page of a template in `templates/`; every value is escaped.

    Raises jinja2.UndefinedError for a value that the template wants and does not get.
    """
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": _count, "percent": _percent, "interval": _interval,
                            "seconds": _seconds, "megabytes": _megabytes, "visible": _visible}
    return environment.get_template(template).render(**values)


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


def _megabytes(value: float | None) -> str:
    return "—" if value is None else f"{value / 1e6:,.0f} MB"


def _visible(text: str) -> str:
    """Control characters, which a page may not hold, as the pictures that Unicode has of them."""
    return "".join(chr(0x2400 + ord(c)) if ord(c) < 32 and c not in "\n\t" else c for c in text)
