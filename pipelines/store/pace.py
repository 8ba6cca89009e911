"""Says how far something is, how fast it goes and when it will be done."""

from __future__ import annotations


class Pace:
    """For one kind of unit, since its first report."""

    def __init__(self) -> None:
        self._unit: str | None = None
        self._first, self._start = 0.0, 0.0

    def describe(self, done: float, total: float | None, unit: str, now: float) -> str:
        kind, _, detail = unit.partition(" · ")
        if kind != self._unit or done < self._first:
            self._unit, self._first, self._start = kind, done, now
        if not done and not total:
            return unit  # a message without a count
        rate = (done - self._first) / (now - self._start) if now > self._start else 0.0
        parts = [_amount(done, total, kind)]
        if rate:
            parts.append(f"{_number(rate, kind)}/s")
        if rate and total:
            parts.append(f"{_duration((total - done) / rate)} left")
        return ", ".join(parts) + (f" · {detail}" if detail else "")


def _amount(done: float, total: float | None, kind: str) -> str:
    if not total:
        return f"{_number(done, kind)} {kind}"
    return f"{_number(done, kind)} of {_number(total, kind)} {kind} ({100 * done / total:.0f}%)"


def _number(value: float, kind: str) -> str:
    if kind.startswith("bytes"):
        return f"{value / 1e6:,.1f} M"
    return f"{value:,.0f}" if value >= 10 else f"{value:,.1f}".removesuffix(".0")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
