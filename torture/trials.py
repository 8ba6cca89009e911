"""What each row of the table is given, and what it has found."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from torture.homes import Homes

MOST_TOLD = 20  # broken promises of a row that are kept in words


@dataclass(frozen=True)
class Row:
    """One promise. `goal`: {what is counted: how many in a night}; `tries` runs until its time is
    over."""

    name: str
    promise: str
    goal: dict[str, int]
    tries: Callable[[Trials], None]
    share: float = 1.0  # of the time, against the others


@dataclass
class Trials:
    """`count` what was tried, `broke` what did not hold, `skip` what this machine cannot try."""

    homes: Homes
    folder: Path
    seed: str
    seconds: float
    most: int | None = None  # trials; None: as many as there is time for
    counted: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._began: float | None = None
        self._begun = 0  # trials
        self.folder.mkdir(parents=True, exist_ok=True)

    def left(self) -> float:
        """Seconds for further trials; the time runs from the first question on."""
        if self._began is None:
            self._began = time.monotonic()
        return self._began + self.seconds - time.monotonic()

    def go_on(self) -> bool:
        """Whether to begin another trial."""
        self._begun += 1
        return self.left() > 0 and (self.most is None or self._begun <= self.most)

    def count(self, what: str, number: int = 1) -> None:
        self.counted[what] += number

    def broke(self, text: str) -> None:
        self.counted["broken"] += 1
        if len(self.broken) < MOST_TOLD:
            self.broken.append(text)
        print(f"  BROKEN: {text}", flush=True)

    def expect(self, holds: object, text: str) -> bool:
        if not holds:
            self.broke(text)
        return bool(holds)

    def skip(self, why: str) -> None:
        if why not in self.skipped:
            self.skipped.append(why)
            print(f"  not tried: {why}", flush=True)
