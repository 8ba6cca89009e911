"""Measures Folio against alternatives, and writes the figures to files.

    python -m benchmarks [--only NAME…] [--mirror DIR] [--repeats 5] [--quick] [--long]

Writes RESULTS.md, results.json and results.svg into benchmarks/ (--quick: data/benchmarks/quick/).
With --only, earlier figures of the other comparisons are kept. Each measured row gets a line in
history.jsonl, and the command fails if a goal was met before and its figure has fallen by more than
a fifth on the same machine. PyTorch, JAX and Hugging Face tokenizers are measured if they are
installed. On a GPU: python -m benchmarks.gpu
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks import history, machine, plot, results
from benchmarks.harness import Conditions
from pipelines.files.home import PROJECT, made
from pipelines.run.execute import git_commit

COMPARISONS = {  # name: its module, in the table's order
    "prep": "prep",
    "prep20": "prep20",
    "cluster": "cluster",
    "driver": "driver",
    "imdb-epoch": "imdb_epoch",
    "char": "char",
    "backends": "backends",
    "rnnlm": "rnnlm",
    "options": "options",
    "generate": "generate",
    "score": "score",
    "serve": "serve",
    "read": "read",
    "idle": "idle",
    "scale": "scale",
    "flow": "flow",
}
LONG = ("prep20", "cluster", "driver", "scale")  # minutes to prepare: only on request
MIRROR = PROJECT.parent / "shared" / "mirror"  # where the tests also find the real files


def main() -> int:
    options = _options()
    conditions = Conditions(
        made(options.home / ("quick" if options.quick else "full")),
        options.mirror,
        2 if options.quick else options.repeats,
        options.quick,
    )
    rows, failed = results.load(options.add.parent, options.add.name) if options.add else [], []
    for name in [] if options.add else options.only or _usual(options.long):
        started = time.perf_counter()
        try:
            rows += _measured(name, conditions)
        except Exception as error:  # a failing comparison does not stop the others
            failed.append(name)
            _say(f"FAILED {name}: {error}")
        _say(f"{name}: {time.perf_counter() - started:.0f} s")
    folder = conditions.home if options.quick else options.out
    lost = [] if options.add else history.slower(history.read(folder), rows)
    if not options.add:
        history.append(made(folder), rows, git_commit())
    rows = results.merged(results.load(folder), rows, (*COMPARISONS, "gpu"))
    results.save(folder, rows, _command(options))
    plot.draw(rows, folder)
    print("\n".join(results.table(rows)))
    _say(f"written: {folder / results.PAGE}, {results.JSON}, {results.PLOT}")
    for line in lost:
        _say(f"SLOWER {line}")
    return 1 if failed or lost else 0


def _usual(long: bool) -> list[str]:
    return [name for name in COMPARISONS if long or name not in LONG]


def _measured(name: str, conditions: Conditions) -> Iterator[results.Row]:
    """The rows of one comparison, reported as they come."""
    facts, in_use = machine.described(), machine.in_use()
    for row in import_module(f"benchmarks.{COMPARISONS[name]}").compare(conditions):
        if row.ours is None:
            _say(f"SKIPPED {row.name}: {row.note}")
        else:
            _say(results.table([row])[-1])
        yield replace(row, machine=facts, in_use=in_use)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", nargs="+", choices=list(COMPARISONS), metavar="NAME", help=", ".join(COMPARISONS)
    )
    parser.add_argument(
        "--mirror",
        default=str(MIRROR) if MIRROR.is_dir() else None,
        help="folder or address of the public files",
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test that it works")
    parser.add_argument("--long", action="store_true", help=f"also {', '.join(LONG)}")
    parser.add_argument(
        "--add",
        type=Path,
        metavar="FILE",
        help="measure nothing; add the results.json of another machine",
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=PROJECT / "data" / "benchmarks",
        help="folder of artifacts kept between runs",
    )
    parser.add_argument(
        "--out", type=Path, default=PROJECT / "benchmarks", help="folder of the output"
    )
    options = parser.parse_args()
    options.home = options.home.absolute()
    if options.mirror and "://" not in options.mirror:
        options.mirror = str(Path(options.mirror).absolute())
    return options


def _command(options: argparse.Namespace) -> str:
    if options.add:
        return f"python -m benchmarks --add {options.add.name}"
    if options.quick:
        return "python -m benchmarks --quick (tiny sizes: no figures)"
    only = f" ONLY={shlex.quote(' '.join(options.only))}" if options.only else ""
    return f"make bench{only}{' LONG=1' if options.long else ''}"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
