"""The command line. Each command answers with text, or with `--json` with one JSON document."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows import display
from pipelines.errors import FolioError, UsageError

if TYPE_CHECKING:
    from pipelines.execute import Settings
    from pipelines.inference import Predictor
    from pipelines.plan import Selection

INTERRUPTED = 130  # what shells expect after Ctrl-C
PENDING = 3

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]},
    help="""Retrains small text models and keeps account of what was made from what.

\b
Examples:
  folio run shakespeare imdb --profile quick     retrain two pipelines
  folio plan imdb                                what would run, and why
  folio predict imdb "A film to remember."       ask the champion
  folio generate shakespeare --start "ROMEO: "   let it write
""")

Name = Annotated[str, typer.Argument(help="a pipeline of the catalog, or the path of a YAML file")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON document on standard output")]
Profile = Annotated[str, typer.Option(help="which profile of the declaration: full, quick, …")]
Overrides = Annotated[list[str] | None, typer.Option(
    "--set", metavar="KEY=VALUE", help="change a value, such as training.epochs=2")]
Backend = Annotated[str | None, typer.Option(help="tensorflow, jax or torch, where installed")]
Only = Annotated[str | None, typer.Option(metavar="STAGE", help="repeat this stage alone")]
Since = Annotated[str | None, typer.Option("--from", metavar="STAGE",
                                           help="repeat this stage and all below")]
ModelVersion = Annotated[int | None, typer.Option(
    "--version", help="a version of the registry instead of the champion")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """The pipelines of the catalog: champion, its metric, when they last ran."""
    from pipelines.declarations import catalog_names, load_spec
    from pipelines.registry import champions

    settings = _settings()
    crowned, rows = champions(settings.home), []
    last: dict[str, dict[str, Any]] = {}
    for record in settings.runs:
        last.setdefault(record["pipeline"], record)
    for name in [*catalog_names(), *sorted(set(last) - set(catalog_names()))]:
        title = load_spec(name).title if name in catalog_names() else ""
        record, champion = last.get(name) or {}, crowned.get(name)
        rows.append({"pipeline": name, "title": title, "champion": champion,
                     "last_run": record.get("started"), "state": record.get("state")})
    _answer(rows, as_json, display.pipelines)


@app.command()
def plan(name: Name, profile: Profile = "full", overrides: Overrides = None,
         backend: Backend = None, only: Only = None, since: Since = None,
         as_json: AsJson = False,
         exit_code: Annotated[bool, typer.Option(
             "--exit-code", help="exit with 3 when work is pending")] = False) -> None:
    """What a run would do, stage by stage, and why. Runs nothing.

    \b
    Examples:
      folio plan imdb --profile quick
      folio plan imdb --set training.epochs=2
    """
    from pipelines.declarations import load_spec
    from pipelines.plan import plan as decisions_of

    settings = _settings()
    spec = load_spec(name, profile, _overrides(overrides, backend))
    decisions = decisions_of(spec, settings.store, settings.runs, _selection(only, since))
    stages = [decision.as_json() for decision in decisions]
    _answer({"pipeline": spec.name, "profile": profile, "stages": stages}, as_json, display.plan)
    if exit_code and any(stage["action"] != "reuse" for stage in stages):
        raise typer.Exit(PENDING)


@app.command()
def run(names: Annotated[list[str], typer.Argument(metavar="NAME…", help="pipelines to retrain")],
        profile: Profile = "full", only: Only = None, since: Since = None,
        overrides: Overrides = None, backend: Backend = None,
        mirror: Annotated[str | None, typer.Option(
            metavar="DIR|URL", help="look for the files here first")] = None,
        offline: Annotated[bool, typer.Option(
            "--offline", help="fetch nothing from the net")] = False,
        allow_sample: Annotated[bool, typer.Option(
            "--allow-sample", help="use the small sample when a source cannot be reached")] = False,
        as_json: AsJson = False) -> None:
    """Retrain pipelines; what has not changed is reused.

    \b
    Examples:
      folio run imdb --profile quick
      folio run imdb --from tokens --set tokens.min_count=3
      folio run ./mine.yaml --mirror /srv/texts
    """
    from flows.running import run_pipelines

    records, code = run_pipelines(
        names, _settings(), profile=profile, overrides=_overrides(overrides, backend),
        only=_stage(only), since=_stage(since), mirror=mirror, offline=offline,
        allow_sample=allow_sample)
    _answer(records, as_json, display.summary)
    raise typer.Exit(code)


@app.command()
def runs(name: Annotated[str | None, typer.Argument(help="only this pipeline's")] = None,
         limit: Annotated[int, typer.Option(help="how many, newest first", min=1)] = 20,
         as_json: AsJson = False) -> None:
    """What ran, newest first."""
    records = [record for record in _settings().runs
               if name is None or record["pipeline"] == _model_name(name)]
    _answer(records[:limit], as_json, display.runs)


@app.command()
def show(run: Annotated[str, typer.Argument(
             help="a run's id, its beginning, or latest")] = "latest",
         as_json: AsJson = False) -> None:
    """One run: its stages, timings, counts and what each was made from."""
    settings = _settings()
    record = settings.runs.get(run)
    for entry in record["stages"]:
        artifact = settings.store.find(entry["stage"], entry["key"] or "")
        entry["manifest"] = artifact.manifest if artifact else None
    _answer(record, as_json, display.run)


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
    _answer(answers, as_json, display.predictions)


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
    _answer(made, as_json, display.texts)


@app.command()
def models(name: Annotated[str | None, typer.Argument(help="only this pipeline's")] = None,
           as_json: AsJson = False) -> None:
    """The registered versions: which is champion, and why."""
    from pipelines.registry import list_models

    listed = list_models(_settings().home, _model_name(name) if name else None)
    if name and not listed:
        raise UsageError(f"{name}: no version is registered; train one with: folio run {name}")
    _answer(listed, as_json, display.models)


def main() -> None:
    """The `folio` command."""
    verbose = "--verbose" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--verbose"]
    try:
        with _one_line_errors(verbose):
            app(arguments)
    except BrokenPipeError:
        sys.stderr.close()  # `folio runs | head`: nobody reads on
        sys.exit(1)


@contextlib.contextmanager
def _one_line_errors(verbose: bool) -> Iterator[None]:
    try:
        yield
    except SystemExit as leaving:
        if leaving.code != INTERRUPTED:  # which is how typer passes Ctrl-C on
            raise
        _fail("interrupted; what was published stays, and a rerun goes on from there", INTERRUPTED)
    except FolioError as error:
        if verbose:
            raise
        _fail(str(error), error.exit_code)
    except BrokenPipeError:
        raise
    except Exception as error:
        if verbose:
            raise
        first = (str(error).strip() or "no message").splitlines()[0]
        _fail(f"{type(error).__name__}: {first} (--verbose shows where)", 1)


def _fail(message: str, code: int) -> None:
    print(f"folio: {message}", file=sys.stderr)
    sys.exit(code)


def _answer(value: Any, as_json: bool, show: Any) -> None:
    if as_json:
        print(json.dumps(value, indent=1, ensure_ascii=False))
    else:
        show(value)


def _settings() -> Settings:
    from pipelines.execute import Settings, home_folder

    return Settings.at(home_folder())


def _overrides(given: list[str] | None, backend: str | None) -> tuple[str, ...]:
    return (*(given or ()), *([f"training.backend={backend}"] if backend else ()))


def _stage(name: str | None) -> str | None:
    from pipelines.stages import stage_named

    return stage_named(name).name if name else None


def _selection(only: str | None, since: str | None) -> Selection:
    from pipelines.plan import Selection

    return Selection.of(_stage(only), _stage(since))


def _model_name(name: str) -> str:
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name


@contextlib.contextmanager
def _predictor(name: str, version: int | None) -> Iterator[Predictor]:
    from flows.console import NATIVE_LOG, native_notices_to
    from pipelines.inference import Predictor
    from pipelines.registry import load_champion

    home = _settings().home
    folder = load_champion(home, _model_name(name), version)
    with native_notices_to(home / NATIVE_LOG):
        yield Predictor.load(folder)
