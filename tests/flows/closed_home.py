"""Calls commands in a home that can only be read, or is mounted elsewhere and hidden where it was.
Prints what each of them said, as JSON.

    unshare --map-root-user --mount python -m tests.flows.closed_home mounted HOME COMMANDS
    setpriv --bounding-set=… python -m tests.flows.closed_home as-it-is HOME COMMANDS
    unshare --map-root-user --mount python -m tests.flows.closed_home elsewhere HOME COMMANDS

COMMANDS is a JSON list of lists of words. One process calls them all: each would load TensorFlow.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from flows.cli.main import main


def all_said(how: str, home: str, commands: list[list[str]]) -> list[dict[str, Any]]:
    if how == "mounted":
        subprocess.run(["mount", "--bind", home, home], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", home], check=True)
    if how == "elsewhere":
        Path(other := f"{home}-elsewhere").mkdir()
        subprocess.run(["mount", "--bind", home, other], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0", "none", home], check=True)
        home = other
    os.environ["FOLIO_HOME"] = home
    return [said(words) for words in commands]


def said(words: list[str]) -> dict[str, Any]:
    """Caught at the descriptors, as libraries write there."""
    sys.argv = ["folio", *words]
    kept = {number: os.dup(number) for number in (1, 2)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            main()
            code: Any = 0
        except SystemExit as leaving:
            code = leaving.code or 0
        finally:
            sys.stdout.flush()
            for number, descriptor in kept.items():
                os.dup2(descriptor, number)
                os.close(descriptor)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return {"words": words, "code": code, "out": texts[0], "err": texts[1]}


if __name__ == "__main__":
    print(json.dumps(all_said(sys.argv[1], sys.argv[2], json.loads(Path(sys.argv[3]).read_text()))))
