"""Training on a GPU, with Keras on JAX or PyTorch, whichever are installed.

    python -m benchmarks.gpu [--only CASE…] [--out DIR]

It needs numpy, and torch or jax; without keras only PyTorch's layers are measured. To add the
figures of another machine, use `python -m benchmarks --add DIR/results.json`.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import results
from benchmarks.gpu_sides import Sizes, Way, chip, cudnn_calls, items_a_second, padding_error, sweep
from benchmarks.harness import Measured, Side, apart, take_turns
from benchmarks.machine import described, in_use
from benchmarks.results import Row, number

TUTORIAL = 125_000.0  # characters per second, on the machine of the Keras text-generation tutorial
LARGER = (1, 4, 16, 64)  # times the batch size, to find what saturates the chip
NOISE = 1e-3  # of logits, between two orders of the same sums


@dataclass(frozen=True)
class Case:
    name: str
    title: str
    unit: str
    sizes: Sizes
    goal: float | None = None  # items per second


CASES = (
    Case(
        "gru-1024",
        "GRU 1024 training on a GPU",
        "characters/s",
        Sizes("language_model", "gru", 256, 1024, 67, 64, 100),
        1_000_000,
    ),
    Case(
        "lstm-512",
        "LSTM 512 training on a GPU",
        "characters/s",
        Sizes("language_model", "lstm", 256, 512, 67, 64, 100),
    ),
    Case(
        "imdb",
        "IMDb bi-LSTM training on a GPU",
        "slots/s",
        Sizes("classifier", "lstm", 20, 64, 90_000, 32, 272),
    ),
)


def main() -> int:
    options = _options()
    installed = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]
    chips = [found for name in installed if (found := apart(chip, name))]
    if not chips and not options.cpu:
        print(
            "no GPU that "
            f"{' or '.join(installed) or 'torch or jax (neither is installed)'} can use "
            "here: nothing measured. --cpu tests the script with tiny sizes.",
            file=sys.stderr,
        )
        return 1
    facts = f"{described()} GPU: {'; '.join(chips) or 'none'}."
    rows: list[Row] = []
    for case in CASES:
        if options.only is None or case.name in options.only:
            for row in _compare(case, _ways(installed, options.cpu), options):
                rows.append(replace(row, machine=facts, in_use=in_use()))
                print(results.table(rows[-1:])[-1], file=sys.stderr, flush=True)
    results.save(
        options.out,
        results.merged(results.load(options.out), rows, ("gpu",)),
        "python -m benchmarks.gpu",
    )
    print("\n".join(results.table(rows)))
    return 0


def _ways(installed: list[str], cpu: bool) -> list[Way]:
    """Folio's figures first, then the alternatives."""
    has_keras = importlib.util.find_spec("keras") is not None
    device = "cpu" if cpu else "cuda"
    ways = [
        Way(backend, masked=masked, device=device)
        for masked in (True, False)
        for backend in installed
        if has_keras
    ]
    return [*ways, *([Way("torch", keras=False, device=device)] if "torch" in installed else [])]


def _compare(case: Case, ways: list[Way], options: argparse.Namespace) -> Iterator[Row]:
    sizes = case.sizes.tiny() if options.cpu else case.sizes
    found = take_turns(
        {way.label: Side(items_a_second, (way, sizes)) for way in ways}, options.repeats
    )
    best = max(ways, key=lambda way: (way.keras and way.masked, found[way.label].median))
    mine, name = found[best.label], f"gpu/{case.name}"
    note = " ".join(
        [
            f"Batch {sizes.batch} × {sizes.time}, float32.",
            *(f"{label}: {number(each.median)} {case.unit}." for label, each in found.items()),
            *_looked_into(best, ways, sizes, LARGER[:2] if options.cpu else LARGER),
        ]
    )
    yield Row(
        name,
        f"{case.title}, {best.label}",
        "",
        mine.median,
        unit=case.unit,
        runs=len(mine.values),
        note=note,
    )
    if case.goal is not None:
        tutorial = Measured((TUTORIAL,) * len(mine.values))
        yield Row.times(
            f"{name}-tutorial",
            case.title,
            "the tutorial's machine, as reported there",
            mine,
            tutorial,
            case.unit,
            case.goal / TUTORIAL,
        )
    layers = found.get(Way("torch", keras=False).label)
    if layers is not None and best.keras:
        yield Row.times(
            f"{name}-torch", case.title, "PyTorch's layers", mine, layers, case.unit, None
        )


def _looked_into(best: Way, ways: list[Way], sizes: Sizes, times: tuple[int, ...]) -> Iterator[str]:
    """Larger batches, lower precision, whether cuDNN ran, and whether masks work there."""
    for precision in ("float32", "bfloat16"):
        reached = apart(sweep, best, sizes, precision, times)
        yield (
            f"{best.label}, {precision}, by rows per batch: "
            + ", ".join(f"{rows}: {number(rate)}" for rows, rate in reached.items())
            + "."
        )
    for way in ways:
        calls = apart(cudnn_calls, way, sizes)
        yield f"cuDNN's recurrent layers in {way.label}: {', '.join(calls) or 'not called'}."
    if best.keras and sizes.kind == "classifier":
        error = apart(padding_error, best, sizes)
        yield (
            f"Padding changes a logit by {error:.0e}: "
            + ("noise." if error < NOISE else "WRONG, masks do not work here.")
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=[case.name for case in CASES])
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument(
        "--cpu", action="store_true", help="test the script without a GPU, tiny sizes"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the output")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
