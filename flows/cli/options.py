"""Options and helpers shared by the commands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cluster.address import CLUSTER
from pipelines.errors import FolioError, UsageError
from pipelines.files.home import why_closed
from pipelines.network.credentials import MIRROR

if TYPE_CHECKING:
    from pipelines.run.options import Selection
    from pipelines.store.settings import Settings


def catalog_pipelines() -> list[str]:
    """Shell completion for a pipeline's name, in addition to files."""
    from pipelines.declaration.catalog import catalog_names

    return catalog_names()


def own_pipelines() -> list[str]:
    """Shell completion for a pipeline in the home's catalog."""
    from pipelines.declaration.catalog import own_names

    return own_names()


def stage_names() -> list[str]:
    """Shell completion for a stage."""
    from pipelines.stages import NAMES

    return list(NAMES)


Name = Annotated[
    str,
    typer.Argument(
        help="a pipeline in the catalog, or the path of a YAML file",
        autocompletion=catalog_pipelines,
    ),
]
OnlyName = Annotated[
    str | None, typer.Argument(help="only this pipeline", autocompletion=catalog_pipelines)
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON document to standard output")]
Profile = Annotated[str, typer.Option(help="a profile of the declaration: full, quick, …")]
RunProfile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="a profile of the declaration: quick, …; default: full, or with "
        "--using that run's profile",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="change a value, for example training.epochs=2"
    ),
]
Backend = Annotated[str | None, typer.Option(help="tensorflow, or jax if installed")]
Only = Annotated[
    str | None,
    typer.Option(metavar="STAGE", help="rerun only this stage", autocompletion=stage_names),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="STAGE",
        help="rerun this stage and all later ones",
        autocompletion=stage_names,
    ),
]
Until = Annotated[
    str | None,
    typer.Option(metavar="STAGE", help="stop after this stage", autocompletion=stage_names),
]
Using = Annotated[
    str | None,
    typer.Option(metavar="RUN", help="for the stages before the rerun, use this run's artifacts"),
]
TrainIn = Annotated[
    str,
    typer.Option(
        metavar="WHERE",
        help="pool: a worker of the work pool gpu; here: this process; auto: "
        "the pool if it has a worker",
    ),
]
RequireGpu = Annotated[
    bool,
    typer.Option("--require-gpu", help="fail if there is no GPU, instead of training on the CPU"),
]
Mirror = Annotated[
    str | None,
    typer.Option(metavar="DIR|URL", envvar=MIRROR, help="look for source files here first"),
]
Offline = Annotated[bool, typer.Option("--offline", help="do not use the network")]
AllowSample = Annotated[
    bool,
    typer.Option("--allow-sample", help="use the small sample text if a source cannot be reached"),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        envvar=CLUSTER,
        help="do the stages corpus, tokens and batches on a Dask cluster: tcp://host:port, "
        "tls://host:port, or local:N for N processes",
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        help="with --file: the character between the columns of a .csv",
        metavar="CHARACTER",
        show_default="found if it is a comma, ;, tab or |",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        help="with --file: the encoding of a .csv, such as cp1252",
        metavar="NAME",
        show_default="UTF-8, or UTF-16 with a byte order mark",
    ),
]
ReplaceUnknown = Annotated[
    bool,
    typer.Option(
        "--replace-unknown",
        help="replace characters or words that the model does not know with its unknown token",
    ),
]
ModelVersion = Annotated[
    int | None, typer.Option("--version", help="a registered version instead of the champion")
]


_printed: list[bool] = []


def answer(value: Any, as_json: bool, show: Any) -> None:
    if as_json:
        _printed.append(True)
        print(json.dumps(value, indent=1, ensure_ascii=False), flush=True)
    else:
        show(value)


def begin() -> None:
    """Nothing is printed yet: a process may run several commands."""
    _printed.clear()


def answered() -> bool:
    """Whether the command has printed its JSON document."""
    return bool(_printed)


def settings(**others: Any) -> Settings:
    """Where Folio keeps its data; `others` are fields of Settings, such as mirror."""
    from flows.services.up_state import link_to_servers
    from pipelines.files.home import home_folder
    from pipelines.store.settings import Settings

    link_to_servers(home := home_folder())
    return Settings.at(home, **others)


def writable() -> Settings:
    """The same, for commands that change the home. Raises FolioError if it is not writable."""
    here = settings()
    if closed := why_closed(here.home):
        raise FolioError(closed)
    return here


def overridden(given: list[str] | None, backend: str | None) -> tuple[str, ...]:
    return (*(given or ()), *([f"training.backend={backend}"] if backend else ()))


def stage(name: str | None) -> str | None:
    from pipelines.stages import stage_named

    return stage_named(name).name if name else None


def selection(only: str | None, since: str | None) -> Selection:
    from pipelines.run.options import Selection

    return Selection.of(stage(only), stage(since))


def place(train_in: str) -> str:
    if train_in not in ("auto", "pool", "here"):
        raise UsageError(f"--train-in {train_in}: give auto, pool or here")
    return train_in
