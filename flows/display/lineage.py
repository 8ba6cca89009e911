"""The human-readable output of the lineage commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flows.display.tables import figures, print_wide, table

Document = dict[str, Any]
MOST_FILES = 20  # raw files listed; --json has all of them


def lineage(found: Document) -> None:
    """A tree from the requested object back to the raw files, then the settings of each stage."""
    from rich.tree import Tree

    if found["version"]:
        print(_version(found["version"]))
    else:
        print(f"{found['kind']} {found['name']}")
    artifacts = {(one["stage"], one["key"]): one for one in found["artifacts"]}
    below = {(stage, key) for one in found["artifacts"] for stage, key in one["made_of"].items()}
    trunk = Tree("made from")
    drawn: set[str] = set()
    for one in found["artifacts"]:
        if (one["stage"], one["key"]) not in below:
            _grow(trunk, one, artifacts, found["files"], drawn)
    print_wide(trunk)
    for one in found["gone"]:
        print(
            f"deleted: {one['stage']} with content {(one['digest'] or 'unknown')[:12]}, "
            f"which {one['needed_by']} was made from"
        )
    if found["artifacts"]:
        table(
            ("stage", "commit", "settings"),
            (
                (one["stage"], (one["git_commit"] or "unknown")[:12], _settings(one["config"]))
                for one in reversed(found["artifacts"])
            ),
        )


def _grow(
    branch: Any,
    one: Document,
    artifacts: dict[tuple[str, str], Document],
    files: list[Document],
    drawn: set[str],
) -> None:
    """One artifact and its inputs, recursively; artifacts already in the tree are only named."""
    twig = branch.add(_artifact(one))
    drawn.add(one["key"])
    own = [file for file in files if file["source"] == one["key"]]
    for file in own[:MOST_FILES]:
        twig.add(_file(file))
    if len(own) > MOST_FILES:
        twig.add(f"and {len(own) - MOST_FILES:,} more files; --json lists them")
    above = set(one["made_of"].items())
    for name in [name for name in artifacts if name in above]:  # the last stage first
        if artifacts[name]["key"] in drawn:
            twig.add(f"{name[0]:8} {name[1][:12]}  (as above)")
        else:
            _grow(twig, artifacts[name], artifacts, files, drawn)


def _artifact(one: Document) -> str:
    return (
        f"{one['stage']:8} {one['key'][:12]}  content {one['digest'][:12]}  "
        f"{_moment(one['created'])}  run {one['run'] or 'unknown'}"
    )


def _file(file: Document) -> str:
    whence = f"  from {file['address']}" if file["address"] else ""
    return f"{file['name']}  {file['bytes']:,} bytes  SHA-256 {file['sha256']}{whence}"


def _settings(config: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_said(value)}" for key, value in config.items())


def _said(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)


def _version(version: Document) -> str:
    aliases = f" ({', '.join(version['aliases'])})" if version["aliases"] else ""
    measured = figures(version["figures"])
    return (
        f"{version['model']} version {version['version']}{aliases}, registered "
        f"{_moment(version['created'])}{': ' + measured if measured else ''}"
    )


def _moment(time: str | None) -> str:
    return (time or "unknown")[:16].replace("T", " ")


def eaten(found: Document) -> None:
    """What was made from a file: artifacts, runs, versions."""
    for file in found["found"]:
        print(
            f"{file['name']}  {file['bytes']:,} bytes  SHA-256 {file['sha256']}  in "
            f"{file['stage']} {file['key'][:12]}"
        )
    for version in found["versions"]:
        print(_version(version))
    if not found["versions"]:
        print("no registered model was made from it")
    if found["runs"]:
        table(
            ("used by run", "profile", "started", "state", "version"),
            (
                (one["run"], one["profile"], _moment(one["started"]), one["state"], one["version"])
                for one in found["runs"]
            ),
        )
    table(
        ("artifact", "key", "content", "created", "run"),
        (
            (one["stage"], one["key"][:12], one["digest"][:12], _moment(one["created"]), one["run"])
            for one in found["artifacts"]
        ),
    )


def difference(found: Document) -> None:
    """What changed: a table for each kind of change; unchanged entries are left out."""
    print(f"old  {found['old']}\nnew  {found['new']}")
    table(
        ("stage", "artifact", "old", "new"),
        (
            (
                row["stage"],
                row["same"],
                *(row[side] and row[side]["key"][:12] for side in ("old", "new")),
            )
            for row in found["artifacts"]
        ),
    )
    for name, heading, show in (
        ("declaration", "declared", _said),
        ("code", "code", _fingerprint),
        ("libraries", "library", _plainly),
        ("files", "raw file", _fingerprint),
    ):
        _changes(found[name], heading, show)
    for name, heading in (("counts", "count"), ("metrics", "metric")):
        if found[name]:
            print()
            table(
                (heading, "old", "new", "change", ""),
                map(_change, found[name]),
                numbers=("old", "new", "change"),
            )
    if not any(found[name] for name in ("declaration", "code", "libraries", "files", "counts")):
        print("declaration, code, libraries and data are the same")


def _changes(rows: list[Document], heading: str, show: Callable[[Any], str]) -> None:
    if rows:
        print()
        stages = ["stages"] if "stages" in rows[0] else []
        table(
            (heading, "old", "new", *stages),
            (
                (
                    next(iter(row.values())),
                    show(row["old"]),
                    show(row["new"]),
                    *(", ".join(row[name]) for name in stages),
                )
                for row in rows
            ),
        )


def reproduction(found: Document) -> None:
    """For each stage whether the result is identical, then the differences and the metrics."""
    table(
        ("stage", "outcome", "content then", "content now", "what changed"),
        (
            (
                one["stage"],
                "agrees" if one["agrees"] else "DIFFERS",
                one["old"][:12],
                one["new"][:12],
                "; ".join(one["changed"]) or "–",
            )
            for one in found["stages"]
        ),
    )
    if found["agrees"]:
        aside = any(one["aside"] for one in found["stages"])
        but = " (except its report, which is not compared)" if aside else ""
        print(f"{found['name']}: rebuilt; every byte is identical{but}")
        return
    first = next(one for one in found["stages"] if not one["agrees"])
    print(
        f"{found['name']}: {first['stage']} is the first to differ, in "
        f"{', '.join(first['files'])}: {found['why']}"
    )
    if found["metrics"]:
        table(
            ("metric", "then", "now", "change", ""),
            map(_change, found["metrics"]),
            numbers=("then", "now", "change"),
        )


def _change(row: Document) -> tuple[str, ...]:
    verdict = {True: "better", False: "worse", None: ""}[row.get("better")]
    return (
        next(iter(row.values())).replace("_", " "),
        _number(row["old"]),
        _number(row["new"]),
        _signed(row["delta"]),
        verdict,
    )


def _fingerprint(digest: str | None) -> str:
    return digest[:12] if digest else "absent"


def _plainly(value: Any) -> str:
    return "absent" if value is None else str(value)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _signed(value: float | None) -> str:
    if not value:
        return "–" if value is None else "0"
    return f"{value:+,}" if isinstance(value, int) else f"{value:+.4f}"


def report(found: Document) -> None:
    print(found["pdf"] or found["report"])


def drift(found: Document, whose: str = "this run") -> None:
    """The text of a run or a file, compared with the champion's."""
    kind = (
        "the same text that"
        if found["same_text"]
        else "DRIFTED from what"
        if found["drifted"]
        else "the same text that"
    )
    print(f"text     {kind} version {found['version']} was trained on")
    if found["same_text"]:
        return
    table(
        ("measure", "champion's", whose, "stability index", "test", "p", ""),
        (
            (
                one["measure"],
                one["old"],
                one["new"],
                one["index"],
                one["test"],
                f"{one['p']:.2g}",
                "drifted" if one["drifted"] else "",
            )
            for one in found["measures"]
        ),
        numbers=("champion's", whose, "stability index", "p"),
    )
