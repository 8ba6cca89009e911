"""Commands that use the registered models."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.app import app
from flows.cli.options import (
    AsJson,
    Delimiter,
    Encoding,
    ModelVersion,
    Name,
    OnlyName,
    ReplaceUnknown,
    answer,
    settings,
)
from flows.display import models as display
from pipelines.declaration.reading.declared import pipeline_name
from pipelines.errors import UsageError
from pipelines.files.home import users_files

if TYPE_CHECKING:
    from pipelines.serving.predictor import Predictor

TEMPERATURE = 0.8
LIGHT_TOKENS = 2000  # about as long as importing Keras takes


@app.command()
def predict(
    name: Name,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT…|-", help="texts, or - for one text per line of standard input"
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="score the texts of a .csv or .parquet file", metavar="FILE")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="with --file: a .csv or .parquet file to write", metavar="FILE"),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            help="with --file: the column to read",
            metavar="NAME",
            show_default="the declared one, text, or the only text column",
        ),
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="with --file: prefix for the names of the added columns")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="with --file: replace an existing --out")
    ] = False,
    spreadsheet_safe: Annotated[
        bool,
        typer.Option(
            "--spreadsheet-safe",
            help="with --file and a .csv for --out: put an apostrophe before text that a "
            "spreadsheet would interpret as a formula",
        ),
    ] = False,
    delimiter: Delimiter = None,
    encoding: Encoding = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="with --file: also add a column with each label's probability"),
    ] = False,
    top: Annotated[
        int, typer.Option(help="language models: number of next tokens to show", min=1)
    ] = 10,
    replace_unknown: ReplaceUnknown = False,
    version: ModelVersion = None,
    as_json: AsJson = False,
) -> None:
    """Predict the labels of texts, or their next tokens; or score a file.

    \b
    Examples:
      folio predict imdb "A film to remember."
      folio predict imdb - < reviews.txt
      folio predict imdb --file reviews.csv --column review --out scored.parquet
      folio predict words "some of them looks like" --top 5
      folio predict speeches --file lines.csv --out costs.parquet
    """
    if file is not None:
        if texts or out is None:
            raise UsageError(
                "--file: "
                + ("give either texts or a file" if texts else "name the output file with --out")
            )
        _score_file(
            name,
            version,
            as_json,
            file=file,
            out=out,
            column=column,
            prefix=prefix,
            force=force,
            spreadsheet_safe=spreadsheet_safe,
            delimiter=delimiter,
            encoding=encoding,
            every=every,
        )
        return
    of_file = (out, column, prefix, force, spreadsheet_safe, delimiter, encoding, every)
    if not texts or any(of_file):
        raise UsageError(
            "give texts, - for standard input, or --file; only --file accepts --out, --column, "
            "--prefix, --force, --spreadsheet-safe, --delimiter, --encoding and --all"
        )
    with _predictor(name, version, light=True) as predictor:
        _answer_texts(predictor, texts, top, replace_unknown, as_json)


def _answer_texts(
    predictor: Predictor, texts: list[str], top: int, replace_unknown: bool, as_json: bool
) -> None:
    """Prints each group of texts once it is answered; as JSON, all of them in one document."""
    answers = []
    for given in _given(texts):
        found = _asked(predictor, given, top, replace_unknown)
        if as_json:
            answers += found
        else:
            display.predictions(found)
            sys.stdout.flush()  # the input may be endless
    if as_json:
        answer(answers, as_json, display.predictions)


def _given(texts: list[str]) -> Iterator[list[str]]:
    """The texts in groups; standard input as it arrives."""
    from flows.cli.serving.standard_input import arriving

    return arriving(sys.stdin) if texts == ["-"] else iter([texts])


def _asked(
    predictor: Predictor, texts: list[str], top: int, replace_unknown: bool
) -> list[dict[str, Any]]:
    if predictor.kind == "classifier":
        return predictor.predict(texts)
    answers = [
        {"text": text, "next": predictor.next_tokens(text, top, replace_unknown)} for text in texts
    ]
    _tell(predictor.shortness(texts))
    return answers


def _score_file(name: str, version: int | None, as_json: bool, **order: Any) -> None:
    from flows.display.console import NATIVE_LOG, Console, native_notices_to
    from pipelines.scoring.score_file import RegisteredModel, score_file
    from pipelines.scoring.score_order import Order

    home, wanted = settings().home, Order(**order)
    with native_notices_to(home / NATIVE_LOG), Console() as console, users_files(wanted.out):
        model = RegisteredModel.find(home, pipeline_name(name), version)
        summary = score_file(model, wanted, console.progress("predict"))
    answer(summary, as_json, display.scored)


@app.command()
def generate(
    name: Name,
    start: Annotated[
        list[str] | None,
        typer.Option(help="the text to continue; repeat the option for several texts"),
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1000, help="texts from each start")] = 1,
    length: Annotated[int, typer.Option(help="number of tokens to generate")] = 400,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="0 always takes the most likely token; 1 samples from the model's own "
            "distribution",
            show_default=str(TEMPERATURE),
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="the inverse, 1 / temperature: above 1, likely tokens are favoured"),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            help="predict each token from only the last N tokens, starting from the zero state",
            metavar="N",
            show_default="as declared, else all",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="the same seed generates the same text")] = 1,
    top_k: Annotated[
        int | None, typer.Option(help="sample from the K most likely tokens only")
    ] = None,
    replace_unknown: ReplaceUnknown = False,
    version: ModelVersion = None,
    as_json: AsJson = False,
) -> None:
    """Generate text with a language model.

    \b
    Examples:
      folio generate shakespeare --start "ROMEO: " --length 600 --temperature 0.7
      folio generate shakespeare --start "ROMEO: " --start "JULIET: " --count 3
      folio generate mysterious-island --start "The island" --scale 2 --context 40
    """
    starts, heat = start or [""], _temperature(temperature, scale)
    light = len(starts) * count * length <= LIGHT_TOKENS
    with _predictor(name, version, light, "language_model") as predictor:
        made = predictor.generate(
            starts,
            length=length,
            temperature=heat,
            seed=seed,
            top_k=top_k,
            replace_unknown=replace_unknown,
            context=context,
            count=count,
        )
        _tell(predictor.shortness(starts))
    answer(made, as_json, display.texts)


@app.command()
def models(
    name: OnlyName = None,
    history: Annotated[
        bool,
        typer.Option("--history", help="show the journal: all decisions, with time and reason"),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the registered versions: which one is champion, and why.

    \b
    Examples:
      folio models
      folio models imdb
      folio models imdb --history
    """
    from pipelines.registry.champions import history as lines_on
    from pipelines.registry.lookup import list_models

    if history:
        if not name:
            raise UsageError("--history: name a pipeline, as in folio models imdb --history")
        answer(lines_on(settings().home, pipeline_name(name)), as_json, display.history)
        return
    listed = list_models(settings().home, pipeline_name(name) if name else None)
    if name and not listed:
        raise UsageError(f"{name}: no version is registered; train one with: folio run {name}")
    answer(listed, as_json, display.models)


def _temperature(temperature: float | None, scale: float | None) -> float:
    if scale is None:
        return TEMPERATURE if temperature is None else temperature
    if temperature is not None:
        raise UsageError(
            "--scale and --temperature are mutually exclusive: a scale is 1 / temperature"
        )
    if not 0 < scale < math.inf:
        raise UsageError(f"scale {scale}: give a number above 0, such as 2 (temperature 0.5)")
    return 1 / scale


def _tell(notice: str | None) -> None:
    if notice:
        print(notice, file=sys.stderr)


@contextlib.contextmanager
def _predictor(
    name: str, version: int | None, light: bool, kind: str | None = None
) -> Iterator[Predictor]:
    """`light`: on NumPy, which answers before Keras is imported. Raises UsageError for a model that
    is not of `kind`."""
    from flows.display.console import NATIVE_LOG, native_notices_to
    from pipelines.serving.predictor import NUMPY, Predictor
    from pipelines.serving.registered import load_champion

    home = settings().home
    folder = load_champion(home, pipeline_name(name), version)
    with native_notices_to(home / NATIVE_LOG):
        yield Predictor.load(folder, NUMPY if light else None, kind=kind)
