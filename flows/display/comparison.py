"""The human-readable output on compared variants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.display.tables import table, text

if TYPE_CHECKING:
    from pipelines.run.search import Trial


def comparison(compared: dict[str, Any]) -> None:
    """The output of `folio compare`."""
    from pipelines.run.grid import label

    rows, seeds = compared["rows"], compared["seeds"]
    columns = [
        (split, name)
        for split in ("validation", "test")
        for name in dict.fromkeys(name for row in rows for name in row[split])
    ]
    print(f"\n{compared['pipeline']}, profile {compared['profile']}{_with(seeds)}, {_by(compared)}")
    table(
        (
            "variant",
            *(f"{split} {name.replace('_', ' ')}" for split, name in columns),
            "best epoch",
            "seconds/epoch",
            "parameters",
            "error",
        ),
        (
            (
                label(row["variant"]),
                *(_figure(row[split].get(name)) for split, name in columns),
                _each(row, "best_epoch"),
                _each(row, "seconds_per_epoch"),
                row["parameters"] and f"{row['parameters']:,}",
                row["error"] or "",
            )
            for row in rows
        ),
    )
    if compared["measure"] == "perplexity" and any(
        key.startswith("tokens.") for row in rows for key in row["variant"]
    ):
        print(
            "perplexity depends on the tokens; rank with --set registry.metric=bits_per_character"
        )
    if not compared["same_text"]:
        print(
            f"the variants have different {compared['split']} texts, so their figures cannot be "
            "compared; vary training.seed instead of seed, and keep corpus as it is"
        )
    print(f"table and plot: {compared['folder']}")


SHOWN = 10  # trials in the table


def tuning(found: dict[str, Any]) -> None:
    """The output of `folio tune`."""
    from pipelines.run.grid import label

    trials, best, measure = found["trials"], found["best"], found["measure"].replace("_", " ")
    print(f"\n{found['pipeline']}, profile {found['profile']}: {len(trials)} trials")
    table(
        ("trial", "settings", f"validation {measure}", "error"),
        (
            (one["number"], label(one["variant"]), one["value"], one["error"] or "")
            for one in (trials[number - 1] for number in found["ranked"][:SHOWN])
        ),
    )
    print(f"all trials and plot: {found['folder']}")
    if best is None:
        print("no trial has succeeded")
        return
    used = "tuned" if found["profile"] == "full" else f"{found['profile']}+tuned"
    print(f"\nThe best one, to paste into the declaration and run with --profile {used}:\n")
    print(found["yaml"])


def trial(one: Trial, best: Trial | None, most: int | None) -> str:
    """A line on a trial that has just ended."""
    from pipelines.run.grid import label

    number = f"trial {one.number}" + (f" of {most}" if most else "")
    figure = f"failed: {one.error}" if one.value is None else text(one.value)
    leading = f"; best so far: {text(best.value)} (trial {best.number})" if best else ""
    return f"{number}, {label(one.variant)}: {figure}{leading}"


def _with(seeds: list[int]) -> str:
    return f", {len(seeds)} seeds (mean ± standard deviation, range)" if len(seeds) > 1 else ""


def _by(compared: dict[str, Any]) -> str:
    name, metric = (compared[key].replace("_", " ") for key in ("measure", "metric"))
    if compared["split"] == "test":
        return f"by {name} on test"
    reason = "" if name == metric else f" (training does not measure {metric})"
    return f"by {name} on validation{reason}; only the best one read the test split"


def _figure(figure: dict[str, Any] | None) -> str | None:
    if figure is None:
        return None
    mean, low, high = (text(float(figure[name])) for name in ("mean", "min", "max"))
    return mean if figure["sd"] is None else f"{mean} ± {text(figure['sd'])} ({low} to {high})"


def _each(row: dict[str, Any], name: str) -> str | None:
    """A value of each training of the row."""
    values = [one[name] for one in row["trainings"] if one[name] is not None]
    return ", ".join(map(str, values)) or None
