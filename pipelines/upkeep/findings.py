"""The findings of a check of a home.

Checks only look. A finding that can be fixed safely contains the function that fixes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.files.machine import one_line

FIX = "folio doctor --fix"
Repair = Callable[[], str]  # returns what it did


@dataclass(frozen=True)
class Finding:
    """`text` says what is wrong, and where; `remedy` is a command or a sentence."""

    check: str
    state: Literal["ok", "warning", "problem"]
    text: str
    remedy: str | None = None
    repair: Repair | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "state": self.state,
            "text": self.text,
            "remedy": self.remedy,
            "fixable": self.repair is not None,
        }


Check = Callable[[], Iterable[Finding]]


def examined(checks: dict[str, Check]) -> list[Finding]:
    """The findings of all checks. A check that fails is itself a finding."""
    found: list[Finding] = []
    for name, check in checks.items():
        try:
            found += check()
        except Exception as error:  # a failing check does not stop the others
            what, _, remedy = one_line(error).partition("; ")  # formatted like FolioErrors
            found.append(Finding(name, "problem", what, remedy or None))
    return found
