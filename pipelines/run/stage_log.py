"""How the stages of a run ended, and the record's part on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.baselines import baseline_line, mix_line
from pipelines.files.machine import one_line
from pipelines.files.small_files import read_object
from pipelines.run.execute import StageResult
from pipelines.store.artifacts import Artifact


class StageLog:
    """`ended` and `failed` note one stage each; `summary` is the record's part on all of them."""

    def __init__(self) -> None:
        self._entries: list[dict[str, Any]] = []
        self._results: dict[str, StageResult] = {}

    def __getitem__(self, stage: str) -> StageResult:
        return self._results[stage]

    @property
    def artifacts(self) -> dict[str, Artifact]:
        return {name: result.artifact for name, result in self._results.items()}

    def ended(self, result: StageResult) -> None:
        self._entries.append(result.as_json())
        self._results[result.stage] = result

    def failed(self, stage: str, error: BaseException, seconds: float) -> None:
        self._entries.append(
            {
                "stage": stage,
                "action": "failed",
                "reason": one_line(error),
                "path": None,
                "seconds": round(seconds, 3),
                "key": None,
            }
        )

    def summary(
        self,
        error: BaseException | None,
        seconds: float,
        stale: list[str],
        drift: dict[str, Any] | None,
    ) -> dict[str, Any]:
        release = self._read("release", "release.json")
        report, metrics = self._file("report", "report.html"), self._read("metrics", "metrics.json")
        return {
            "state": self._state(error),
            "seconds": round(seconds, 3),
            "stages": self._entries,
            "metrics": metrics.get("headline", {}),
            "baseline": baseline_line(metrics),
            "mix": mix_line(metrics),
            "version": release.get("version"),
            "verdict": release.get("verdict"),
            "reason": release.get("reason"),
            "report": str(report) if report else None,
            "stale": stale,
            "drift": drift,
            "error": one_line(error) if error else None,
        }

    def _state(self, error: BaseException | None) -> str:
        if error is not None:
            return "failed"
        reused = all(entry["action"] == "reuse" for entry in self._entries)
        return "nothing-to-do" if reused else "done"

    def _file(self, stage: str, name: str) -> Path | None:
        result = self._results.get(stage)
        if result is None or name not in result.artifact.manifest["files"]:
            return None
        return result.artifact.path / name

    def _read(self, stage: str, name: str) -> dict[str, Any]:
        path = self._file(stage, name)
        return read_object(path) if path else {}


def how_ended(result: StageResult) -> str:
    if result.action == "reuse":
        return f"reused ({result.reason})"
    done = "rebuilt" if result.action == "rebuild" else "done"
    return f"{done} in {result.seconds:.1f} s ({result.reason})"


def staleness(pipeline: str, stale: list[str]) -> str:
    are = "is" if len(stale) == 1 else "are"
    return (
        f"{pipeline}: {', '.join(stale)} {are} no longer based on the current artifacts; "
        f"bring up to date with: folio run {pipeline}"
    )
