"""Answers texts with a package by NumPy.

FOLDER "a text" "another"      a line of JSON for each text
FOLDER < texts.txt             for each line of the input

It is the program of an export with --format light (`python FOLDER`), and of the command
`folio-predict`.
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
from pipelines.serving.package import SETTINGS
from pipelines.serving.predictor import NUMPY, Predictor

AT_ONCE = 64  # lines of the input
PLACES = ("", "package", "data/package")  # of the package: itself, --format light, --format mlflow


def main(package: Path) -> None:
    _run(package, _options("python FOLDER"))


def command() -> None:
    """`folio-predict FOLDER TEXT…`: the folder of an export, a version or a package."""
    options = _options("folio-predict", "folder")
    folder = Path(options.folder)
    inside = (folder / place for place in PLACES)
    _run(next((path for path in inside if (path / SETTINGS).is_file()), folder), options)


def _run(package: Path, options: argparse.Namespace) -> None:
    try:
        predictor = Predictor.load(package, NUMPY)
        for texts in [options.texts] if options.texts else _lines():
            for row in _answers(predictor, texts, vars(options)):
                print(json.dumps(row, ensure_ascii=False), flush=True)
    except FolioError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        library = {"sklearn": "scikit-learn"}.get(error.name or "", error.name)
        sys.exit(f"this model needs {library}; install it with: pip install {library}")


def _answers(
    predictor: Predictor, texts: list[str], options: dict[str, Any]
) -> list[dict[str, Any]]:
    if predictor.kind == "classifier":
        return predictor.predict(texts)
    return predictor.generate(texts, **{name: options[name] for name, _ in PARAMETERS})


def _lines() -> Iterator[list[str]]:
    lines = (line.rstrip("\r\n") for line in sys.stdin)
    return iter(lambda: list(islice(lines, AT_ONCE)), [])


def _options(program: str, *first: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in first:
        parser.add_argument(name, metavar=name.upper())
    parser.add_argument("texts", nargs="*", metavar="TEXT")
    for name, default in PARAMETERS:
        parser.add_argument(
            f"--{name}", type=type(default), default=default, help=f"of written text: {default}"
        )
    return parser.parse_intermixed_args()  # an option may stand before the texts
