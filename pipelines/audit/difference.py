"""What changed between two runs, according to the manifests of their artifacts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.network.addresses import config_shown
from pipelines.run.changes import differing
from pipelines.stages import NAMES

Manifest = Mapping[str, Any]
Side = Mapping[str, Manifest | None]  # by stage; None if the artifact is gone
Row = dict[str, Any]
COUNTED = ("corpus", "tokens", "batches", "model")


def difference(old: Side, new: Side) -> dict[str, list[Row]]:
    """{artifacts, declaration, code, libraries, files, counts, metrics}: the differences, with
    `old` and `new` (None: missing), in the stages that both have; artifacts and metrics are
    complete."""
    both = [stage for stage in NAMES if old.get(stage) and new.get(stage)]
    before, after = ({stage: one for stage in both if (one := side[stage])} for side in (old, new))
    return {
        "artifacts": [_artifact(stage, old, new) for stage in NAMES if stage in {**old, **new}],
        "declaration": _rows("key", _declared(before), _declared(after)),
        "code": _by_stage("file", "code", before, after),
        "libraries": _by_stage("library", "libraries", before, after),
        "files": _rows("file", _files(before), _files(after)),
        "counts": [
            row | {"delta": _delta(row)}
            for row in _rows("count", dict(_counts(before)), dict(_counts(after)))
        ],
        "metrics": metric_rows(old.get("metrics"), new.get("metrics")),
    }


def _artifact(stage: str, old: Side, new: Side) -> Row:
    before, after = old.get(stage), new.get(stage)
    row: Row = {"stage": stage, "same": _sameness(stage, old, new)}
    for name, manifest in (("old", before), ("new", after)):
        row[name] = manifest and {
            key: manifest.get(key) for key in ("key", "digest", "git_commit", "run", "created")
        }
    return row


def _sameness(stage: str, old: Side, new: Side) -> str:
    before, after = old.get(stage), new.get(stage)
    if stage not in old or stage not in new:
        return "only in the old" if stage in old else "only in the new"
    if before is None or after is None:
        return "gone"
    if before["key"] == after["key"]:
        return "the same"
    return "the same bytes" if before["digest"] == after["digest"] else "different"


def _rows(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Row]:
    order = list(dict.fromkeys([*old, *new]))
    return [
        {name: key, "old": old.get(key), "new": new.get(key)}
        for key in sorted(differing(new, old), key=order.index)
    ]


def _declared(side: Mapping[str, Manifest]) -> dict[str, Any]:
    return {
        key: value
        for manifest in side.values()
        for key, value in config_shown(manifest["config"]).items()
    }


def _by_stage(
    name: str, part: str, old: Mapping[str, Manifest], new: Mapping[str, Manifest]
) -> list[Row]:
    """Like `_rows`, for each stage's own entries; equal rows once, with their `stages`."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for stage, manifest in old.items():
        for row in _rows(name, manifest[part], new[stage][part]):
            found.setdefault(tuple(row.values()), []).append(stage)
    return [
        dict(zip((name, "old", "new"), row, strict=True)) | {"stages": stages}
        for row, stages in found.items()
    ]


def _files(side: Mapping[str, Manifest]) -> dict[str, str]:
    """{raw file: its SHA-256}."""
    files = side["source"]["files"] if "source" in side else {}
    return {name: entry["sha256"] for name, entry in files.items()}


def _counts(side: Mapping[str, Manifest]) -> Iterator[tuple[str, float]]:
    """(stage.dotted.name, number)."""
    for stage in COUNTED:
        if stage in side:
            yield from _numbers(side[stage]["counts"], stage)


def _numbers(counts: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for key, value in counts.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}.{key}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}.{key}", value


def metric_rows(old: Manifest | None, new: Manifest | None) -> list[Row]:
    """All headline figures, including unchanged ones; `better` says whether the new one is
    better."""
    before, after = (manifest["counts"] if manifest else {} for manifest in (old, new))
    rows = []
    for name in dict.fromkeys([*before, *after]):
        row = {"metric": name, "old": before.get(name), "new": after.get(name)}
        delta = _delta(row)
        better = (delta < 0) == (name in LOWER_IS_BETTER) if delta else None
        rows.append(row | {"delta": delta, "better": better})
    return rows


def _delta(row: Row) -> float | None:
    return None if None in (row["old"], row["new"]) else row["new"] - row["old"]
