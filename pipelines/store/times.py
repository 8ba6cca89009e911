"""Times as manifests and records write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def utc(moment: float | datetime) -> str: ...
@overload
def utc(moment: None) -> None: ...
def utc(moment: float | datetime | None) -> str | None:
    """Seconds since 1970, or an aware datetime, as 2026-01-31T04:05:06Z; None stays None."""
    if moment is None:
        return None
    when = moment if isinstance(moment, datetime) else datetime.fromtimestamp(moment, UTC)
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
