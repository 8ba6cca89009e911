"""The human-readable output on pipelines and their runs."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from flows.display.lineage import drift
from flows.display.tables import figures, table
from pipelines.files.small_files import read_object
from pipelines.registry.lookup import how_to_approve
from pipelines.report.example import example_start, example_text

ACTIONS = {"run": "run", "reuse": "reused", "rebuild": "rebuilt"}


def pipelines(rows: list[dict[str, Any]]) -> None:
    table(
        ("pipeline", "champion", "metric", "last run", "state", "title"),
        (
            (
                row["pipeline"],
                *_champion(row["champion"]),
                row["last_run"],
                row["state"],
                row["title"],
            )
            for row in rows
        ),
    )
    for row in rows:
        if row["problem"]:
            print(f"{row['pipeline']} cannot run: {row['problem']}", file=sys.stderr)


def _champion(champion: dict[str, Any] | None) -> tuple[str | None, str | None]:
    if not champion:
        return None, None
    sample = " (sample)" if champion.get("sample") else ""
    value = champion.get("value")
    figure = f"{champion['metric']} {value:.4f}" if value is not None else None
    return f"version {champion['version']}{sample}", figure


def plan(planned: dict[str, Any]) -> None:
    print(f"{planned['pipeline']}, profile {planned['profile']}")
    table(
        ("stage", "action", "reason"),
        ((stage["stage"], stage["action"], stage["reason"]) for stage in planned["stages"]),
    )


def runs(records: list[dict[str, Any]]) -> None:
    if not records:
        print("no runs yet; start with: folio run NAME")
        return
    table(
        ("run", "profile", "state", "seconds", "version", "metrics"),
        (
            (
                record["run"],
                record["profile"] + (" (sample)" if record["sample"] else ""),
                record["state"],
                f"{record['seconds']:.1f}",
                record["version"],
                record["error"] or figures(record["metrics"]),
            )
            for record in records
        ),
    )


def summary(records: list[dict[str, Any]]) -> None:
    """The output of `folio run`."""
    for record in records:
        sample = ", on the SAMPLE text" if record["sample"] else ""
        print(
            f"\n{record['pipeline']}, profile {record['profile']}{sample}: "
            f"{record['state'].replace('-', ' ')} in {record['seconds']:.1f} s"
        )
        table(
            ("  stage", "action", "seconds"),
            (
                (
                    f"  {entry['stage']}",
                    ACTIONS.get(entry["action"], entry["action"]),
                    f"{entry['seconds']:.1f}",
                )
                for entry in record["stages"]
            ),
        )
        if record["error"]:
            print(f"  failed     {record['error']}")
        else:
            _outcome(record)
        if waits := record.get("waits"):
            print(f"  {how_to_approve(record['pipeline'], waits)}")


def _outcome(record: dict[str, Any]) -> None:
    folders = {entry["stage"]: entry["path"] for entry in record["stages"]}
    lines = [
        ("metrics", figures(record["metrics"])),
        ("counting", record.get("baseline")),
        ("mixed", record.get("mix")),
        ("registered", _registered(record)),
        ("why", record.get("reason")),
        ("report", record["report"]),
        ("batches", folders.get("batches") and str(Path(folders["batches"]) / "batches")),
        ("next", None if record.get("waits") else _next(record)),
    ]
    for name, text in lines:
        if text:
            print(f"  {name:10} {text}")


def _registered(record: dict[str, Any]) -> str | None:
    if record["version"] is None:
        return None
    return f"{record['pipeline']} version {record['version']} ({record['verdict']})"


def _next(record: dict[str, Any]) -> str | None:
    """A command that works as it is, quoted for the shell."""
    name, is_writer = record["pipeline"], "perplexity" in record["metrics"]
    text = _example(record, is_writer)
    if is_writer:
        return f"folio generate {name}" + (f" --start {shlex.quote(text)}" if text else "")
    if record["metrics"] and text:
        return f"folio predict {name} {shlex.quote(text)}"
    return f"folio show {record['run']}"


def _example(record: dict[str, Any], is_writer: bool) -> str | None:
    """A text of the run for its model to read or to continue."""
    folders = {entry["stage"]: Path(entry["path"]) for entry in record["stages"] if entry["path"]}
    try:
        if not is_writer:
            return example_text(folders["corpus"])
        samples = read_object(folders["metrics"] / "metrics.json", samples=list)["samples"]
        declared = next((sample["start"] for sample in samples), "")
        return example_start(declared, folders["corpus"], folders["tokens"])
    except Exception:  # only a proposal: whatever is missing, the run has ended well
        return None


def run(record: dict[str, Any]) -> None:
    print(
        f"{record['run']}: {record['pipeline']}, profile {record['profile']}, {record['state']}, "
        f"started {record['started']}, {record['seconds']:.1f} s"
    )
    if record["error"]:
        print(f"error: {record['error']}")
    table(
        ("stage", "action", "seconds", "made from", "peak memory", "key", "reason"),
        (
            (
                entry["stage"],
                entry["action"],
                f"{entry['seconds']:.1f}",
                *_lineage(entry),
                entry["reason"],
            )
            for entry in record["stages"]
        ),
    )
    for entry in record["stages"]:
        print(f"{entry['stage']:8} {entry['path'] or '–'}")
    if record["metrics"]:
        print(f"metrics  {figures(record['metrics'])}")
    if record.get("baseline"):
        print(f"counting {record['baseline']}")
    if record.get("mix"):
        print(f"mixed    {record['mix']}")
    if record.get("drift"):
        drift(record["drift"])
    if record["report"]:
        print(f"report   {record['report']}")
    if record.get("mlflow"):
        print(f"mlflow   {record['mlflow']}")


def _lineage(entry: dict[str, Any]) -> tuple[str, str, str]:
    manifest = entry.get("manifest")
    if not manifest:
        return "–", "–", (entry["key"] or "–")[:12]
    return (
        ", ".join(manifest["inputs"]) or "–",
        f"{manifest['peak_memory_bytes'] / 1e6:,.0f} MB",
        entry["key"][:12],
    )


def dashboard(written: dict[str, Any]) -> None:
    for note in written["attention"]:
        print(" ".join(filter(None, (note["pipeline"], note["text"]))))
    print(written["page"])
