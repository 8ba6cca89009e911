"""The human-readable output on the home's catalog."""

from __future__ import annotations

from typing import Any


def added(row: dict[str, Any]) -> None:
    print(f"{row['pipeline']} is in the catalog: {row['declaration']}")
    if when := row["schedule"]:
        how = "deployed" if row["deployed"] else "folio up runs it then"
        print(f"schedule   {when['cron']} {when['timezone']}, profile {when['profile']}: {how}")
    print(f"next       folio run {row['pipeline']}")


def removed(row: dict[str, Any]) -> None:
    print(f"{row['pipeline']} is no longer in the catalog; its file: {row['declaration']}")
    count = row["versions"]
    versions = f"{count} registered version{'' if count == 1 else 's'}"
    print(f"its artifacts and {versions} stay too; folio gc lists what can be deleted")
