"""What the commands print for people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.display.lineage import drift
from flows.display.tables import figures as _figures
from flows.display.tables import table as _table
from pipelines.files.small_files import read_object


def pipelines(rows: list[dict[str, Any]]) -> None:
    _table(
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


def _champion(champion: dict[str, Any] | None) -> tuple[str | None, str | None]:
    if not champion:
        return None, None
    sample = " (sample)" if champion.get("sample") else ""
    value = champion.get("value")
    figure = f"{champion['metric']} {value:.4f}" if value is not None else None
    return f"version {champion['version']}{sample}", figure


def plan(planned: dict[str, Any]) -> None:
    print(f"{planned['pipeline']}, profile {planned['profile']}")
    _table(
        ("stage", "action", "reason"),
        ((stage["stage"], stage["action"], stage["reason"]) for stage in planned["stages"]),
    )


def runs(records: list[dict[str, Any]]) -> None:
    if not records:
        print("no runs yet; start with: folio run NAME")
        return
    _table(
        ("run", "profile", "state", "seconds", "version", "metrics"),
        (
            (
                record["run"],
                record["profile"] + (" (sample)" if record["sample"] else ""),
                record["state"],
                f"{record['seconds']:.1f}",
                record["version"],
                record["error"] or _figures(record["metrics"]),
            )
            for record in records
        ),
    )


def summary(records: list[dict[str, Any]]) -> None:
    """The end of `folio run`."""
    for record in records:
        sample = ", on the SAMPLE text" if record["sample"] else ""
        print(
            f"\n{record['pipeline']}, profile {record['profile']}{sample}: "
            f"{record['state'].replace('-', ' ')} in {record['seconds']:.1f} s"
        )
        _table(
            ("  stage", "action", "seconds"),
            (
                (
                    f"  {entry['stage']}",
                    _ACTIONS.get(entry["action"], entry["action"]),
                    f"{entry['seconds']:.1f}",
                )
                for entry in record["stages"]
            ),
        )
        if record["error"]:
            print(f"  failed     {record['error']}")
        else:
            _outcome(record)


def comparison(compared: dict[str, Any]) -> None:
    """The end of `folio compare`."""
    from pipelines.run.grid import label

    metrics = list(dict.fromkeys(name for row in compared["rows"] for name in row["metrics"]))
    print(f"\n{compared['pipeline']}, profile {compared['profile']}, by {compared['metric']}")
    _table(
        ("variant", *metrics, "best epoch", "seconds/epoch", "parameters", "error"),
        (
            (
                label(row["variant"]),
                *(row["metrics"].get(name) for name in metrics),
                row["best_epoch"],
                row["seconds_per_epoch"],
                row["parameters"] and f"{row['parameters']:,}",
                row["error"] or "",
            )
            for row in compared["rows"]
        ),
    )
    print(f"table and plot: {compared['folder']}")


_ACTIONS = {"run": "run", "reuse": "reused", "rebuild": "rebuilt"}


def _outcome(record: dict[str, Any]) -> None:
    folders = {entry["stage"]: entry["path"] for entry in record["stages"]}
    lines = [
        ("metrics", _figures(record["metrics"])),
        ("registered", _registered(record)),
        ("why", record.get("reason")),
        ("report", record["report"]),
        ("batches", folders.get("batches") and str(Path(folders["batches"]) / "batches")),
        ("next", _next(record)),
    ]
    for name, text in lines:
        if text:
            print(f"  {name:10} {text}")


def _registered(record: dict[str, Any]) -> str | None:
    if record["version"] is None:
        return None
    return f"{record['pipeline']} version {record['version']} ({record['verdict']})"


def _next(record: dict[str, Any]) -> str | None:
    name = record["pipeline"]
    if "perplexity" in record["metrics"]:
        return f"folio generate {name} --start {json.dumps(_start(record), ensure_ascii=False)}"
    if record["metrics"]:
        return f'folio predict {name} "A film to remember."'
    return f"folio show {record['run']}"


def _start(record: dict[str, Any]) -> str:
    """What the report's samples begin with."""
    folder = next(entry["path"] for entry in record["stages"] if entry["stage"] == "metrics")
    samples = read_object(Path(folder) / "metrics.json", samples=list)["samples"]
    return next((sample["start"] for sample in samples), "")


def run(record: dict[str, Any]) -> None:
    print(
        f"{record['run']}: {record['pipeline']}, profile {record['profile']}, {record['state']}, "
        f"started {record['started']}, {record['seconds']:.1f} s"
    )
    if record["error"]:
        print(f"error: {record['error']}")
    _table(
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
        print(f"metrics  {_figures(record['metrics'])}")
    if record.get("drift"):
        drift(record["drift"])
    if record["report"]:
        print(f"report   {record['report']}")


def _lineage(entry: dict[str, Any]) -> tuple[str, str, str]:
    manifest = entry.get("manifest")
    if not manifest:
        return "–", "–", (entry["key"] or "–")[:12]
    return (
        ", ".join(manifest["inputs"]) or "–",
        f"{manifest['peak_memory_bytes'] / 1e6:,.0f} MB",
        entry["key"][:12],
    )


def addresses(named: dict[str, str | None]) -> None:
    """The end of a start of `folio up`."""
    for name, address in named.items():
        if address:
            print(f"{name:10} {address}")


def status(told: dict[str, Any]) -> None:
    if not told["addresses"]:
        print("folio up does not run here; start it with: folio up")
    for name, address in told["addresses"].items():
        if address:
            print(f"{name:10} {address}{'' if told['answering'][name] else '  DOES NOT ANSWER'}")
    if left := told["left"]:
        print(
            f"Prefect    {left['url']} is used by no run; it ends by itself within half "
            f"a minute, or with: kill {left['pid']}"
        )
    for worker in told["workers"] or []:
        print(f"worker     {worker['worker']}: {worker['status']}, heard of at {worker['heard']}")
    if told["runs"]:
        _table(
            ("going on", "pipeline", "since", "pid"),
            (
                (run["run"], run.get("pipeline"), run.get("started"), run.get("pid"))
                for run in told["runs"]
            ),
        )
    else:
        print("no run goes on")
    if told["scheduled"]:
        _table(
            ("next", "at", "state"),
            ((run["pipeline"], run["at"], run["state"]) for run in told["scheduled"]),
        )


def dashboard(written: dict[str, Any]) -> None:
    for note in written["attention"]:
        print(" ".join(filter(None, (note["pipeline"], note["text"]))))
    print(written["page"])


def predictions(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        if answer.get("error"):
            print(f"error: {answer['error']}")
        elif "next" in answer:
            print(answer["text"])
            for one in answer["next"]:
                print(f"  {one['probability']:.4f}  {one['token']!r}")
        else:
            print(f"{answer['label']}  {answer['probability']:.4f}  {answer['text'][:100]}")


def scored(summary: dict[str, Any]) -> None:
    """The end of `folio predict --file`."""
    sample = ", trained on the SAMPLE text," if summary["sample"] else ""
    print(
        f"{summary['out']}: {summary['rows']:,} rows of column {summary['column']!r} by "
        f"{summary['model']} version {summary['version']}{sample} in {summary['seconds']:.1f} s"
    )
    rows = [(label, count) for label, count in summary["labels"].items()]
    rows += [(f"no answer: {why}", count) for why, count in summary["errors"].items()]
    _table(
        ("answer", "rows", "share"),
        ((name, f"{count:,}", f"{count / max(summary['rows'], 1):.1%}") for name, count in rows),
        numbers=("rows", "share"),
    )
    if summary["drift"] is None:
        print(
            f"text     no telling whether it has drifted: version {summary['version']} was "
            "registered before packages kept what they were trained on"
        )
    elif not summary["drift"]["measures"]:
        print("text     too little to tell whether it has drifted")
    else:
        drift(summary["drift"], "this file's")


def texts(made: list[dict[str, Any]]) -> None:
    print("\n\n".join(f"{one['start']}{one['text']}" for one in made))


def models(listed: list[dict[str, Any]]) -> None:
    if not listed:
        print("no models yet; train one with: folio run NAME")
        return
    headers = ("model", "version", "aliases", "metric", "verdict", "against champion", "created")
    _table(
        headers,
        (
            (
                model["name"],
                version["version"],
                ", ".join(version["aliases"]),
                _metric(version),
                version.get("verdict"),
                _difference(version.get("evidence")),
                version.get("created"),
            )
            for model in listed
            for version in model["versions"]
        ),
    )
    if len(listed) == 1:
        for version in listed[0]["versions"]:
            if version.get("reason"):
                print(f"version {version['version']}: {version['reason']}")


def _difference(evidence: dict[str, Any] | None) -> str | None:
    if evidence is None:
        return None
    return f"{evidence['effect']:+.4g} [{evidence['low']:+.4g}, {evidence['high']:+.4g}]"


def history(lines: list[dict[str, Any]]) -> None:
    """The journal of one model."""
    _table(
        ("time", "who", "what", "version", "champion", "why"),
        (
            (
                line["time"],
                line["who"],
                line.get("verdict") or line["action"],
                line["version"],
                line["champion"],
                line["reason"],
            )
            for line in lines
        ),
    )


def champion(line: dict[str, Any]) -> None:
    how = line.get("verdict") or line["action"]
    print(
        f"{line['model']}: version {line['champion']}, champion since {line['since']} "
        f"({how}, {line['who']}): {line['reason']}"
    )


def moved(line: dict[str, Any]) -> None:
    """After `folio promote` and `folio rollback`."""
    before = f"was version {line['former']}" if line["former"] else "there was none"
    print(f"{line['model']}: version {line['champion']} is champion ({before})")


def verified(found: dict[str, Any]) -> None:
    print(
        f"whole: {found['lines']} lines of the journal, {found['versions']} versions, "
        f"{found['artifacts']} artifacts; no test text in what trained or chose a model"
    )


def _metric(version: dict[str, Any]) -> str | None:
    if version.get("value") is None:
        return None
    sample = " (sample)" if version.get("sample") else ""
    return f"{version['metric']} {version['value']:.4f}{sample}"


def garbage(found: dict[str, Any]) -> None:
    """What `folio gc` would delete, or has deleted, by kind and reason."""
    groups: dict[tuple[str, str], list[int]] = {}
    for item in found["items"]:
        groups.setdefault((item["kind"], item["reason"]), []).append(item["bytes"])
    rows = [
        (kind, len(sizes), _megabytes(sum(sizes)), reason)
        for (kind, reason), sizes in groups.items()
    ]
    if rows:
        total = ("total", len(found["items"]), _megabytes(found["bytes"]), "")
        _table(("what", "how many", "MB", "why it may go"), [*rows, total])
    if not found["dry_run"]:
        print("deleted" if rows else "nothing to delete")
    elif rows:
        print("nothing was deleted; do it with: folio gc --yes")
    else:
        print("nothing may go")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f}"


def doctor(told: dict[str, Any]) -> None:
    for text in told["fixed"]:
        print(f"mended: {text}")
    for one in told["findings"]:
        print(f"{one['state']:8} {one['check']:12} {one['text']}")
        if one["remedy"]:
            print(f"{'':21} → {one['remedy']}")
    fixable = sum(one["fixable"] for one in told["findings"])
    print(
        f"problems: {told['problems']}, warnings: {told['warnings']}"
        + (f"; folio doctor --fix mends {fixable} of these" if fixable else "")
    )
