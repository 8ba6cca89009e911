"""A run on a disk that is full in its middle, and again when it has room. Prints JSON.

    unshare --map-root-user --mount python -m tests.flows.full_disk HOME PIPELINE

The disk is a small tmpfs, mounted at HOME for this process alone; Prefect's server is elsewhere.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLIO = str(Path(sys.executable).with_name("folio"))
FULL = "300k"  # enough for the source and the corpus of the tiny play, not for its batches


def main(home: str, pipeline: str) -> None:
    mount("-t", "tmpfs", "-o", f"size={FULL}", "none", home)
    os.environ["FOLIO_HOME"] = home
    told = {
        "full": said("run", pipeline),
        "skipped": sorted(str(path.relative_to(home)) for path in Path(home, "store").glob("*/*")),
    }
    told["doctor"] = said("doctor", "--json")
    mount("-o", "remount,size=100m", home)
    told["again"] = said("run", pipeline, "--json")
    mount("-o", "remount,ro", home)
    told["read-only"] = said("doctor", "--json")
    print(json.dumps(told))


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def said(*arguments: str) -> dict[str, Any]:
    done = subprocess.run([FOLIO, *arguments], capture_output=True, text=True, check=False)
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


if __name__ == "__main__":
    main(*sys.argv[1:])
