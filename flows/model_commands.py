"""The commands that ask the registered models."""

from __future__ import annotations

import contextlib
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

@app.command()
def predict(name: Name,
            texts: Annotated[list[str], typer.Argument(metavar="TEXT…|-",
                                                       help="texts, or - for lines of stdin")],
            top: Annotated[int, typer.Option(help="next tokens shown, language models",
                                             min=1)] = 10,
            version: ModelVersion = None, as_json: AsJson = False) -> None:
    """Ask a classifier for the label of texts, a language model for what comes next.

    \b
    Examples:
      folio predict imdb "A film to remember."
      folio predict imdb - < reviews.txt
    """
    given = [line.rstrip("\n") for line in sys.stdin] if texts == ["-"] else texts
    with _predictor(name, version) as predictor:
        if predictor.kind == "classifier":
            answers = predictor.predict(given)
        else:
            answers = [{"text": text, "next": predictor.next_tokens(text, top)} for text in given]
    answer(answers, as_json, display.predictions)


@app.command()
def generate(name: Name,
             start: Annotated[list[str] | None, typer.Option(
                 help="what the text begins with; give it again for several")] = None,
             length: Annotated[int, typer.Option(help="tokens to write")] = 400,
             temperature: Annotated[float, typer.Option(
                 help="0 always takes the likeliest; 1 draws as the model learned")] = 0.8,
             seed: Annotated[int, typer.Option(help="the same seed writes the same text")] = 1,
             top_k: Annotated[int | None, typer.Option(
                 help="draw from the likeliest K only")] = None,
             replace_unknown: Annotated[bool, typer.Option(
                 "--replace-unknown", help="go on though START has unknown characters")] = False,
             version: ModelVersion = None, as_json: AsJson = False) -> None:
    """Let a language model write.

    \b
    Examples:
      folio generate shakespeare --start "ROMEO: " --length 600 --temperature 0.7
    """
    with _predictor(name, version) as predictor:
        made = predictor.generate(start or [""], length=length, temperature=temperature,
                                  seed=seed, top_k=top_k, replace_unknown=replace_unknown)
    answer(made, as_json, display.texts)


@app.command()
def models(name: Annotated[str | None, typer.Argument(help="only this pipeline's")] = None,
           as_json: AsJson = False) -> None:
    """The registered versions: which is champion, and why."""
    from pipelines.registry import list_models

    listed = list_models(settings().home, model_name(name) if name else None)
    if name and not listed:
        raise UsageError(f"{name}: no version is registered; train one with: folio run {name}")
    answer(listed, as_json, display.models)


@contextlib.contextmanager
def _predictor(name: str, version: int | None) -> Iterator[Predictor]:
    from flows.console import NATIVE_LOG, native_notices_to
    from pipelines.inference import Predictor
    from pipelines.registry import load_champion

    home = settings().home
    folder = load_champion(home, model_name(name), version)
    with native_notices_to(home / NATIVE_LOG):
        yield Predictor.load(folder)
