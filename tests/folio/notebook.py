"""Executes the code of a notebook as Jupyter would, without Jupyter.

python -m tests.folio.notebook docs/folio.ipynb      executes it and writes the outputs into it
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def printed(cell: dict[str, Any]) -> str:
    """What the notebook shows below the cell."""
    return "".join(line for output in cell["outputs"] for line in output["text"])


def execute(notebook: dict[str, Any]) -> list[str]:
    """What each code cell prints now."""
    names: dict[str, Any] = {}
    found = []
    for number, cell in enumerate(code_cells(notebook), 1):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
        found.append(out.getvalue())
    return found


def main() -> None:
    path = Path(sys.argv[1])
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell, text in zip(code_cells(notebook), execute(notebook), strict=True):
        stream = {"name": "stdout", "output_type": "stream", "text": text.splitlines(True)}
        cell["outputs"] = [stream] if text else []
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
