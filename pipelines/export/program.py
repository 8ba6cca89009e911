"""Answers texts with a package by NumPy: the program of an export with --format light.

python FOLDER "a text" "another"      a line of JSON for each text
python FOLDER < texts.txt             for each line of the input
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from pipelines.errors import FolioError
from pipelines.serving.mlflow_model import PARAMETERS
from pipelines.serving.predictor import NUMPY, Predictor

AT_ONCE = 64  # lines of the input


def main(package: Path) -> None:
    options = _options()
    try:
        predictor = Predictor.load(package, NUMPY)
        for texts in [options.texts] if options.texts else _lines():
            for row in _answers(predictor, texts, vars(options)):
                print(json.dumps(row, ensure_ascii=False), flush=True)
    except FolioError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def _answers(
    predictor: Predictor, texts: list[str], options: dict[str, Any]
) -> list[dict[str, Any]]:
    if predictor.kind == "classifier":
        return predictor.predict(texts)
    return predictor.generate(texts, **{name: options[name] for name, _ in PARAMETERS})


def _lines() -> Iterator[list[str]]:
    lines = (line.rstrip("\r\n") for line in sys.stdin)
    return iter(lambda: list(islice(lines, AT_ONCE)), [])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python FOLDER",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    for name, default in PARAMETERS:
        parser.add_argument(
            f"--{name}", type=type(default), default=default, help=f"of written text: {default}"
        )
    return parser.parse_args()
