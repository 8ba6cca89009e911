"""What a check of a home found.

Checks only look. A finding that can be fixed without asking carries the function that does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.files.machine import one_line

FIX = "folio doctor --fix"
Mend = Callable[[], str]  # says what it did


@dataclass(frozen=True)
class Finding:
    """`text` says what is so, and where; `remedy` is a command or a sentence."""

    check: str
    state: Literal["ok", "warning", "problem"]
    text: str
    remedy: str | None = None
    mend: Mend | None = field(default=None, repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "check": self.check,
            "state": self.state,
            "text": self.text,
            "remedy": self.remedy,
            "fixable": self.mend is not None,
        }


Check = Callable[[], Iterable[Finding]]


def examined(checks: dict[str, Check]) -> list[Finding]:
    """What all checks find. One that cannot be done is a finding itself."""
    found: list[Finding] = []
    for name, check in checks.items():
        try:
            found += check()
        except Exception as error:  # a check that fails hides no other
            what, _, remedy = one_line(error).partition("; ")  # as FolioErrors are written
            found.append(Finding(name, "problem", what, remedy or None))
    return found
