"""The human-readable output on a home: its services, its garbage, its health."""

from __future__ import annotations

from typing import Any

from flows.display.tables import table


def addresses(named: dict[str, str | None]) -> None:
    """The addresses that `folio up` prints."""
    for name, address in named.items():
        if address:
            print(f"{name:10} {address}")


def status(running: dict[str, Any]) -> None:
    if not running["addresses"]:
        print("folio up is not running here; start it with: folio up")
    for name, address in running["addresses"].items():
        if address:
            print(f"{name:10} {address}{'' if running['answering'][name] else '  DOES NOT ANSWER'}")
    if left := running["left"]:
        print(
            f"Prefect    {left['url']} is used by no run; it stops within half a minute, "
            f"or with: kill {left['pid']}"
        )
    for worker in running["workers"] or []:
        print(
            f"worker     {worker['worker']}: {worker['status']}, last heartbeat at "
            f"{worker['heard']}"
        )
    for text in (running["undeployed"] or {}).values():
        print(f"not deployed: {text}")
    if running["undeployed"]:
        print("to deploy what is declared: folio up")
    if running["runs"]:
        table(
            ("active run", "pipeline", "since", "pid"),
            (
                (run["run"], run.get("pipeline"), run.get("started"), run.get("pid"))
                for run in running["runs"]
            ),
        )
    else:
        print("no active runs")
    if running["scheduled"]:
        table(
            ("next", "at", "state"),
            ((run["pipeline"], run["at"], run["state"]) for run in running["scheduled"]),
        )


def garbage(found: dict[str, Any], again: str) -> None:
    """What `folio gc` would delete, or has deleted, by kind and reason; `again` deletes it."""
    groups: dict[tuple[str, str], list[int]] = {}
    for item in found["items"]:
        groups.setdefault((item["kind"], item["reason"]), []).append(item["bytes"])
    rows = [
        (kind, len(sizes), _megabytes(sum(sizes)), reason)
        for (kind, reason), sizes in groups.items()
    ]
    if rows:
        total = ("total", len(found["items"]), _megabytes(found["bytes"]), "")
        table(("what", "count", "MB", "reason"), [*rows, total])
    if not found["dry_run"]:
        print("deleted" if rows else "Nothing to delete")
    elif rows:
        print(f"nothing was deleted; to delete these, run: {again}")
    else:
        print("Nothing to delete")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"


def doctor(result: dict[str, Any]) -> None:
    for text in result["fixed"]:
        print(f"fixed: {text}")
    for one in result["findings"]:
        print(f"{one['state']:8} {one['check']:12} {one['text']}")
        if one["remedy"]:
            print(f"{'':21} → {one['remedy']}")
    fixable = sum(one["fixable"] for one in result["findings"])
    print(
        f"problems: {result['problems']}, warnings: {result['warnings']}"
        + (f"; folio doctor --fix repairs {fixable} of these" if fixable else "")
    )
