"""The human-readable output of `folio init` and `folio check`."""

from __future__ import annotations

from typing import Any

from flows.display.tables import table

MOST = 12  # columns, labels


def seen(found: dict[str, Any]) -> None:
    """What `folio init` saw, and the file that it wrote."""
    separated = f", separated by {found['delimiter']!r}" if found["delimiter"] else ""
    files = f"{found['files']:,} files, " if found["files"] > 1 else ""
    rows = [
        ("path", found["path"]),
        ("read as", f"{found['reader']}{separated}; {files}{found['bytes']:,} bytes"),
        ("encoding", found["encoding"]),
        ("texts", f"{found['documents']:,}, with {found['characters']:,} characters"),
        ("lengths", ", ".join(f"{share} {n:,}" for share, n in found["lengths"].items())),
        ("scripts", ", ".join(f"{name} {share:.0%}" for name, share in found["scripts"].items())),
        ("repeats", f"{found['repeats']:,} equal an earlier text"),
    ]
    for name in ("unusable", "ignored", "labels"):
        if numbers := found[name]:
            listed = [f"{what} {number:,}" for what, number in numbers.items()]
            more = [f"and {len(listed) - MOST:,} more"] if len(listed) > MOST else []
            rows.append((name, ", ".join(listed[:MOST] + more)))
    for name, value in rows:
        print(f"{name:9} {value}")
    if found["columns"]:
        _columns(found["columns"])
    print(f"written   {found['file']}")
    print(f"next      folio run {found['file']} --profile quick")


def _columns(columns: list[dict[str, Any]]) -> None:
    table(
        ("column", "filled", "characters", "distinct"),
        (
            (
                one["name"],
                f"{one['filled']:,}",
                f"{one['mean_characters']:,.1f}",
                "many" if one["distinct"] is None else f"{one['distinct']:,}",
            )
            for one in columns[:MOST]
        ),
        ("filled", "characters", "distinct"),
    )
    if len(columns) > MOST:
        print(f"and {len(columns) - MOST:,} more columns")


def checked(found: dict[str, Any]) -> None:
    """What `folio check` found: what would stop a run first."""
    splits = ", ".join(f"{split} {number:,}" for split, number in found["splits"].items())
    texts = f"{found['documents']:,} text{'' if found['documents'] == 1 else 's'}"
    print(f"{found['pipeline']}: {texts}{f': {splits}' if splits else ''}")
    for finding in sorted(found["findings"], key=lambda one: not one["stops"]):
        mark = "STOPS" if finding["stops"] else "note "
        print(f"{mark} {finding['count']:>9,}  {finding['text']}")
        for example in finding["examples"]:
            if example != finding["text"]:
                print(f"{'':17}{example}")
    print("nothing would stop a run" if found["usable"] else "a run would stop")
