"""The commands that ask the registered models."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from flows import display
from flows.app import app
from flows.options import AsJson, ModelVersion, Name, answer, model_name, settings
from pipelines.errors import UsageError

if TYPE_CHECKING:
    from pipelines.inference import Predictor

TEMPERATURE = 0.8
ReplaceUnknown = Annotated[bool, typer.Option(
    "--replace-unknown", help="read what the model has never seen as its unknown token")]


@app.command()
def predict(name: Name,
            texts: Annotated[list[str], typer.Argument(metavar="TEXT…|-",
                                                       help="texts, or - for lines of stdin")],
            top: Annotated[int, typer.Option(help="next tokens shown, language models",
                                             min=1)] = 10,
            replace_unknown: ReplaceUnknown = False,
            version: ModelVersion = None, as_json: AsJson = False) -> None:
    """Ask a classifier for the label of texts, a language model for what comes next.

    \b
    Examples:
      folio predict imdb "A film to remember."
      folio predict imdb - < reviews.txt
      folio predict words "some of them looks like" --top 5
    """
    given = [line.rstrip("\n") for line in sys.stdin] if texts == ["-"] else texts
    with _predictor(name, version) as predictor:
        if predictor.kind == "classifier":
            answers = predictor.predict(given)
        else:
            answers = [{"text": text, "next": predictor.next_tokens(text, top, replace_unknown)}
                       for text in given]
            _tell(predictor.shortness(given))
    answer(answers, as_json, display.predictions)


@app.command()
def generate(name: Name,
             start: Annotated[list[str] | None, typer.Option(
                 help="what the text begins with; give it again for several")] = None,
             length: Annotated[int, typer.Option(help="tokens to write")] = 400,
             temperature: Annotated[float | None, typer.Option(
                 help="0 always takes the likeliest; 1 draws as the model learned",
                 show_default=str(TEMPERATURE))] = None,
             scale: Annotated[float | None, typer.Option(
                 help="the same as 1 / temperature: above 1 the likeliest gain")] = None,
             context: Annotated[int | None, typer.Option(
                 help="draw each token from the last N alone, read from the zero state",
                 metavar="N", show_default="as declared, else all")] = None,
             seed: Annotated[int, typer.Option(help="the same seed writes the same text")] = 1,
             top_k: Annotated[int | None, typer.Option(
                 help="draw from the likeliest K only")] = None,
             replace_unknown: ReplaceUnknown = False,
             version: ModelVersion = None, as_json: AsJson = False) -> None:
    """Let a language model write.

    \b
    Examples:
      folio generate shakespeare --start "ROMEO: " --length 600 --temperature 0.7
      folio generate shakespeare --start "ROMEO: " --start "JULIET: " --top-k 5
      folio generate mysterious-island --start "The island" --scale 2 --context 40
    """
    starts, heat = start or [""], _temperature(temperature, scale)
    with _predictor(name, version) as predictor:
        made = predictor.generate(starts, length=length, temperature=heat, seed=seed, top_k=top_k,
                                  replace_unknown=replace_unknown, context=context)
        _tell(predictor.shortness(starts))
    answer(made, as_json, display.texts)


@app.command()
def models(name: Annotated[str | None, typer.Argument(help="only this pipeline's")] = None,
           history: Annotated[bool, typer.Option(
               "--history", help="the journal instead: what became of each, when and why")] = False,
           as_json: AsJson = False) -> None:
    """The registered versions: which is champion, and why.

    \b
    Examples:
      folio models
      folio models imdb
      folio models imdb --history
    """
    from pipelines.champions import history as lines_on
    from pipelines.registered import list_models

    if history:
        if not name:
            raise UsageError("--history: say of which pipeline, as in folio models imdb --history")
        answer(lines_on(settings().home, model_name(name)), as_json, display.history)
        return
    listed = list_models(settings().home, model_name(name) if name else None)
    if name and not listed:
        raise UsageError(f"{name}: no version is registered; train one with: folio run {name}")
    answer(listed, as_json, display.models)


def _temperature(temperature: float | None, scale: float | None) -> float:
    if scale is None:
        return TEMPERATURE if temperature is None else temperature
    if temperature is not None:
        raise UsageError("--scale and --temperature exclude each other: "
                         "a scale is 1 / temperature; give one")
    if not 0 < scale < math.inf:
        raise UsageError(f"scale {scale}: give a number above 0, such as 2 (temperature 0.5)")
    return 1 / scale


def _tell(notice: str | None) -> None:
    if notice:
        print(notice, file=sys.stderr)


@contextlib.contextmanager
def _predictor(name: str, version: int | None) -> Iterator[Predictor]:
    from flows.console import NATIVE_LOG, native_notices_to
    from pipelines.inference import Predictor
    from pipelines.registered import load_champion

    home = settings().home
    folder = load_champion(home, model_name(name), version)
    with native_notices_to(home / NATIVE_LOG):
        yield Predictor.load(folder)
