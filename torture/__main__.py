"""Tries each promise for its share of the time, and prints what was reached beside the goal.

    python -m torture [--hours 2] [--seed 1] [--trials 5] [--only kills …] [--write docs/trust.md]

The same seed gives the same sequence of trials, if not the same moments. The exit code is 1 if a
promise broke.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import traceback
from importlib import import_module
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from torture.homes import Homes
from torture.summary import table, written
from torture.trials import Row, Trials

ROWS = ("kills", "damage", "plans", "bad_input", "limits", "together", "doors", "nights")


def main() -> int:
    options = _options()
    os.nice(options.nice)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that servers are stopped
    rows = [import_module(f"torture.{name}").ROW for name in options.only or ROWS]
    folder = Path(tempfile.mkdtemp(prefix="folio-torture-", dir=options.folder))
    homes = Homes(folder)
    shares = sum(row.share for row in rows)
    found: list[tuple[Row, Trials]] = []
    for row in rows:
        seconds = options.hours * 3600 * row.share / shares
        print(f"{row.name}: {row.promise} ({seconds:,.0f} s)", flush=True)
        trials = Trials(
            homes, folder / row.name, f"{options.seed}-{row.name}", seconds, options.trials
        )
        try:
            row.tries(trials)
        except Exception as error:  # the other rows are tried all the same
            traceback.print_exc()
            trials.broke(f"{row.name} ended early: {error!r}")
        found.append((row, trials))
    print(table(found))
    if options.write:
        written(options.write, found, options.hours, options.seed)
    broken = any(trials.broken for _, trials in found)
    homes.close()
    if not broken:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"what was left behind is in {folder}")
    return int(broken)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--seed", default="1")
    parser.add_argument(
        "--trials", type=int, help="at most so many in a row: the same ones on any machine"
    )
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the page of figures")
    parser.add_argument("--folder", type=Path, help="where the temporary homes are")
    parser.add_argument("--nice", type=int, default=10, help="0 to 19: how much it steps back")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
