"""A stage that was built again, beside the first one: which files differ, and most likely why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pipelines.run.execute import git_commit
from pipelines.store.artifacts import Artifact
from pipelines.store.processor import another_processor, processors

ROUNDED = ("tokens", "model", "mix", "metrics")  # stages that add up floats
DRAWN = ("report.html", "plots/")  # earlier versions drew the report into the metrics


@dataclass(frozen=True)
class Rebuilt:
    """A stage before and after the rebuild; `changed` says in words what differs; `of` names the
    pipeline if it is one that this one started from."""

    stage: str
    old: Artifact
    new: Artifact
    changed: list[str]
    seconds: float
    remark: str = ""
    of: str = ""

    @property
    def name(self) -> str:
        return f"{self.of} {self.stage}".strip()

    @property
    def files(self) -> list[str]:
        """The files with different bytes, or that only one of the two has."""
        then, now = (
            {
                name: entry["sha256"]
                for name, entry in one.manifest["files"].items()
                if not name.startswith(DRAWN)
            }
            for one in (self.old, self.new)
        )
        return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))

    @property
    def agrees(self) -> bool:
        return not self.files

    def as_json(self) -> dict[str, Any]:
        return {
            "stage": self.name,
            "agrees": self.agrees,
            "old": self.old.digest,
            "new": self.new.digest,
            "files": self.files,
            "changed": self.changed,
            "seconds": self.seconds,
            "remark": self.remark,
            "aside": [name for name in self.old.manifest["files"] if name.startswith(DRAWN)],
        }


def why(one: Rebuilt, figures: Iterable[dict[str, Any]] = ()) -> str:
    """The most likely cause of a different result, in one sentence. `figures`: as `metric_rows`
    gives them."""
    then, now = one.old.manifest, one.new.manifest
    reasons = list(one.changed)
    devices = [manifest["counts"].get("device") for manifest in (then, now)]
    if devices[0] != devices[1]:
        reasons.append(f"trained on {devices[0]} then, on {devices[1]} now")
    if one.stage in ROUNDED and (other := another_processor(processors(then), processors(now))):
        reasons.append(f"other processor ({other}): bits may differ, {_agreement(figures)}")
    if reasons:
        commits = [(commit or "unknown")[:12] for commit in (then["git_commit"], git_commit())]
        at = f" (commit {commits[0]} → {commits[1]})" if commits[0] != commits[1] else ""
        return "; ".join(reasons) + at
    if one.stage == "source":
        return "its origin now has other bytes"
    if one.stage in ROUNDED and not processors(then):
        return (
            "code, libraries and settings are the same; most likely another processor "
            "rounds sums differently"
        )
    return (
        "code, libraries, settings and processor are the same; the bytes depend on something that "
        "no manifest records"
    )


def _agreement(figures: Iterable[dict[str, Any]]) -> str:
    """How far apart the figures are, relative to the old ones."""
    apart = [
        abs(row["delta"]) / (abs(row["old"]) or 1) for row in figures if row["delta"] is not None
    ]
    return f"figures agree within {max(apart):.2%}" if apart else "figures were not compared"
