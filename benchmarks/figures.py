"""The figures of full trainings: from runs into docs/figures.json, and from there into the README.

    python -m benchmarks.figures RUN…      enter runs of this home (FOLIO_HOME) and write the table
    python -m benchmarks.figures           write the table

An entry is {pipeline, profile, metric, value, baseline, interval, seconds, cores, commit, command}.
`baseline` is the best model that only counts n-grams, on the same text and in the same unit;
`interval` holds the true value with 95% confidence.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipelines.baselines import DECIDES
from pipelines.declaration.model_sections import LOWER_IS_BETTER
from pipelines.errors import FolioError, UsageError
from pipelines.files.home import PROJECT, home_folder
from pipelines.stats.binary import wilson
from pipelines.store.artifacts import Artifact
from pipelines.store.settings import Settings

FIGURES, README = PROJECT / "docs" / "figures.json", PROJECT / "README.md"
BEGIN, END = "<!-- figures: from docs/figures.json -->", "<!-- end of figures -->"
UNITS = {
    "accuracy": "{:.2%}",
    "bits_per_character": "{:.3f} bits a character",
    "perplexity": "perplexity {:.1f}",
}
HEAD = "| pipeline | Folio | best n-gram model | Folio's is | time on 2 cores | command |"


def entry(record: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The figures of a run. Raises UsageError if it has none to show."""
    keys = {one["stage"]: one["key"] for one in record["stages"]}
    if record["sample"] or not keys.get("release"):
        raise UsageError(f"{record['run']}: not a run on the real text that registered its model")
    metrics, model, release = (
        settings.store.open(stage, keys[stage]) for stage in ("metrics", "model", "release")
    )
    found = json.loads((metrics.path / "metrics.json").read_bytes())
    decides = json.loads((release.path / "release.json").read_bytes())["metric"]
    metric = decides if decides in UNITS else DECIDES[found["kind"]]
    return {
        "pipeline": record["pipeline"],
        "profile": record["profile"],
        "metric": metric,
        "value": found["headline"][metric],
        "baseline": _best(found["baselines"], metric),
        "interval": _interval(found, metric),
        "seconds": _seconds(record, model),
        "cores": len(os.sched_getaffinity(0)),
        "commit": model.manifest["git_commit"][:12],
        "command": _command(record),
    }


def _interval(found: dict[str, Any], metric: str) -> list[float]:
    if metric == "accuracy":
        return list(wilson(found["sums"]["correct"], found["sums"]["documents"]))
    return [found["intervals"][metric][end] for end in ("low", "high")]


def _best(baselines: dict[str, dict[str, Any]], metric: str) -> float:
    known = [one[metric] for one in baselines.values() if metric in one]
    return min(known) if metric in LOWER_IS_BETTER else max(known)


def _seconds(record: dict[str, Any], model: Artifact) -> int:
    """Of the training and of the run's other stages; a reused model counts with its training."""
    others = sum(one["seconds"] for one in record["stages"] if one["stage"] != "model")
    return round(others + sum(model.counts["epoch_seconds"]))


def _command(record: dict[str, Any]) -> str:
    profile = "" if record["profile"] == "full" else f" --profile {record['profile']}"
    given = [text for text in record["overrides"] if not text.startswith("source.path=")]
    file = ["--set source.path=FILE"] if len(given) < len(record["overrides"]) else []
    changed = [f"--set {text}" for text in given]
    return " ".join([f"folio run {record['pipeline']}{profile}", *changed, *file])


def table(entries: Iterable[dict[str, Any]]) -> str:
    """The README's table of the entries."""
    lines = [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
    for one in entries:
        unit = UNITS[one["metric"]].format
        profile = "" if one["profile"] == "full" else f", {one['profile']}"
        lines.append(
            f"| {one['pipeline']}{profile} | **{unit(one['value'])}** | {unit(one['baseline'])} "
            f"| {_difference(one)} | {one['seconds'] / 60:.0f} min | `{one['command']}` |"
        )
    return "\n".join(lines)


def _difference(one: dict[str, Any]) -> str:
    value, baseline = one["value"], one["baseline"]
    if one["metric"] == "accuracy":
        points = 100 * (value - baseline)
        return f"{abs(points):.1f} points {'better' if points > 0 else 'worse'}"
    share = 1 - value / baseline
    return f"{abs(share):.1%} {'lower' if share > 0 else 'higher'}"


def shown_in(page: str) -> str:
    """The table that is in the page now."""
    return page.partition(BEGIN)[2].partition(END)[0].strip()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", help="ids of runs, as folio runs lists them"
    )
    settings = Settings.at(home_folder())
    try:
        new = [entry(settings.runs.get(run), settings) for run in parser.parse_args().runs]
    except FolioError as error:
        sys.exit(f"figures: {error}")
    entries = _read(FIGURES)
    for one in new:
        entries[one["pipeline"], one["profile"]] = one
    text = json.dumps(list(entries.values()), indent=1)
    FIGURES.write_text(text + "\n", encoding="utf-8")
    page = README.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    README.write_text(f"{before}{BEGIN}\n{table(entries.values())}\n{END}{after}", encoding="utf-8")


def _read(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """{(pipeline, profile): its entry}."""
    listed = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    return {(one["pipeline"], one["profile"]): one for one in listed}


if __name__ == "__main__":
    main()
