"""The human-readable output on models and their predictions."""

from __future__ import annotations

from collections import Counter
from typing import Any

from flows.display.lineage import drift
from flows.display.tables import table
from pipelines.registry.lookup import how_to_approve

MOST_LIKELY, MOST_LISTED = 3, 20  # labels of a text, of a file


def models(listed: list[dict[str, Any]]) -> None:
    if not listed:
        print("no models yet; train one with: folio run NAME")
        return
    headers = ("model", "version", "aliases", "metric", "verdict", "against champion", "created")
    table(
        headers,
        (
            (
                model["name"],
                version["version"],
                ", ".join(version["aliases"]),
                _metric(version),
                "waits for approval" if version.get("waits") else version.get("verdict"),
                _difference(version.get("evidence")),
                version.get("created"),
            )
            for model in listed
            for version in model["versions"]
        ),
    )
    if len(listed) == 1:
        for version in listed[0]["versions"]:
            for name in ("reason", "baseline", "mix"):
                if text := version.get(name):
                    print(f"version {version['version']}: {text}")
            if version.get("waits"):
                how = how_to_approve(listed[0]["name"], version["version"])
                print(f"version {version['version']} {how}")
        return
    for model in listed:
        version = _in_use(model["versions"])
        if version.get("baseline"):
            print(f"{model['name']} version {version['version']}: {version['baseline']}")


def _in_use(versions: list[dict[str, Any]]) -> dict[str, Any]:
    """The champion, or the newest version if there is none."""
    return next((one for one in versions if "champion" in one["aliases"]), versions[-1])


def _metric(version: dict[str, Any]) -> str | None:
    if version.get("value") is None:
        return None
    sample = " (sample)" if version.get("sample") else ""
    return f"{version['metric']} {version['value']:.4f}{sample}"


def _difference(evidence: dict[str, Any] | None) -> str | None:
    if evidence is None:
        return None
    return f"{evidence['effect']:+.4g} [{evidence['low']:+.4g}, {evidence['high']:+.4g}]"


def history(lines: list[dict[str, Any]]) -> None:
    """The journal of one model."""
    table(
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
    """The output of `folio promote` and `folio rollback`."""
    before = (
        f"before: version {line['former']}" if line["former"] else "there was no champion before"
    )
    print(f"{line['model']}: version {line['champion']} is champion ({before})")


def verified(found: dict[str, Any]) -> None:
    print(
        f"intact: {found['lines']} lines of the journal, {found['versions']} versions, "
        f"{found['artifacts']} artifacts; no test text was used to train or select a model"
    )


def predictions(answers: list[dict[str, Any]]) -> None:
    for answer in answers:
        if answer.get("error"):
            print(f"error: {answer['error']}")
        elif "next" in answer:
            print(answer["text"])
            for one in answer["next"]:
                print(f"  {one['probability']:.4f}  {one['token']!r}")
        else:
            print(f"{_likely(answer)}  {answer['text'][:100]}")


def _likely(answer: dict[str, Any]) -> str:
    """The label and its probability; of more than two the most likely ones."""
    if "probabilities" not in answer:
        return f"{answer['label']}  {answer['probability']:.4f}"
    best = sorted(answer["probabilities"].items(), key=lambda one: -one[1])
    return ", ".join(f"{label} {chance:.4f}" for label, chance in best[:MOST_LIKELY])


def texts(made: list[dict[str, Any]]) -> None:
    print("\n\n".join(f"{one['start']}{one['text']}" for one in made))


def scored(summary: dict[str, Any]) -> None:
    """The output of `folio predict --file`."""
    sample = ", trained on the SAMPLE text," if summary["sample"] else ""
    print(
        f"{summary['out']}: {summary['rows']:,} rows of column {summary['column']!r} by "
        f"{summary['model']} version {summary['version']}{sample} in {summary['seconds']:.1f} s"
    )
    if summary.get("bits_per_character") is not None:
        sums = summary["sums"]
        print(
            f"bits per character {summary['bits_per_character']:.4f}, perplexity "
            f"{summary['perplexity']:.4f}: {sums['tokens']:,} tokens predicted"
        )
    rows = _of_labels(summary.get("labels", {"scored": summary["scored"]}))
    rows += [(f"not scored: {why}", count) for why, count in summary["errors"].items()]
    table(
        ("answer", "rows", "share"),
        ((name, f"{count:,}", f"{count / max(summary['rows'], 1):.1%}") for name, count in rows),
        numbers=("rows", "share"),
    )
    if summary["drift"] is None:
        print(
            f"text     drift not measured: version {summary['version']} was registered "
            "before packages stored their training statistics"
        )
    elif not summary["drift"]["measures"]:
        print("text     drift not measured: too little text")
    else:
        drift(summary["drift"], "this file")


def _of_labels(counts: dict[str, int]) -> list[tuple[str, int]]:
    """(label, rows); of many labels the most frequent, and the others together."""
    if len(counts) <= MOST_LISTED:
        return list(counts.items())
    listed = Counter(counts).most_common(MOST_LISTED)
    rest = sum(counts.values()) - sum(count for _, count in listed)
    return [*listed, (f"{len(counts) - MOST_LISTED} other labels", rest)]


def exported(found: dict[str, Any]) -> None:
    print(f"{found['name']} version {found['version']}: {found['folder']}")
    if found["format"] == "mlflow":
        print(f'load it with  mlflow.pyfunc.load_model("{found["folder"]}")')
    else:
        print(f"{found['folder']}/README.md shows how to load it")
