"""Scores new and changed files with a champion, on a schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.display.console import Console
from flows.parameters import Pipeline
from flows.retrain import run_id
from pipelines.declaration.reading.declared import pipeline_name
from pipelines.errors import FolioError
from pipelines.files.home import home_folder, private_files, users_files
from pipelines.files.machine import one_line
from pipelines.registry.lookup import named_version
from pipelines.scoring.score_file import RegisteredModel
from pipelines.scoring.score_folder import INBOX, OUTBOX, is_up_to_date, orders
from pipelines.scoring.score_order import Order
from tasks.failures import failed
from tasks.progress import watched
from tasks.scoring import publish_scores
from tasks.scoring import score as score_one


@flow(name="score", flow_run_name=run_id, persist_result=False)
def score(
    pipeline: Pipeline,
    file: str | None = None,
    out: str | None = None,
    column: str | None = None,
    prefix: str = "",
    spreadsheet_safe: bool = False,
) -> list[dict[str, Any]] | State:
    """Score the files that the current champion has not scored. Returns their summaries.

    Args:
        pipeline: one that has a champion
        file: a .csv or .parquet file, or a folder of them; default: the home's inbox/PIPELINE
        out: the folder of the scores, or one file's output file; default: scored/PIPELINE
        column: the column with the texts; default: the declared one, text, or the only text column
        prefix: prefix for the names of the added columns
        spreadsheet_safe: prevent formulas in a .csv output file
    """
    name = pipeline_name(pipeline)
    with private_files(), Console() as console:
        try:
            home = home_folder()
            champion = named_version(home, name)
            places = _place(home, file, INBOX, name), _place(home, out, OUTBOX, name)
            todo = [
                order
                for order in orders(*places, column or None, prefix, spreadsheet_safe)
                if not is_up_to_date(order, champion)
            ]
            if not todo:
                return Completed(
                    name="Nothing to do",
                    data=[],
                    message=f"{places[0]}: everything is scored by version {champion.number}",
                )
            return _scored(RegisteredModel.find(home, name, champion.number), todo, console)
        except Exception as error:
            return failed(error)


def _place(home: Path, given: str | None, folder: str, name: str) -> Path:
    """Relative paths are in the home, regardless of the worker's working directory."""
    return home / (Path(given).expanduser() if given else Path(folder) / name)


def _scored(model: RegisteredModel, todo: list[Order], console: Console) -> State:
    """Scores the files; an unreadable one does not keep the others from being scored."""
    summaries, problems = [], []
    progress = watched(model.name, console.progress, console.notice)
    for order in todo:
        try:
            with users_files(order.out):
                order.out.parent.mkdir(parents=True, exist_ok=True)
                summaries.append(score_one(model, order, flow_run.name, progress("score")))
            console.notice(f"{model.name} · {order.file.name}: {summaries[-1]['rows']:,} rows")
        except (FolioError, OSError) as error:
            problems.append(error)
            console.notice(f"{model.name} · {order.file.name}: {one_line(error)}")
    if summaries:
        publish_scores(model.name, summaries, console.notice)
    if problems:
        return Failed(
            data=problems[0],
            message=f"{len(problems)} of {len(todo)} files could not "
            f"be scored: {one_line(problems[0])}",
        )
    return Completed(message=_told(summaries), data=summaries)


def _told(summaries: list[dict[str, Any]]) -> str:
    drifted = [one["file"] for one in summaries if one["drift"] and one["drift"]["drifted"]]
    summary = f"{len(summaries)} files, {sum(one['rows'] for one in summaries):,} rows"
    return summary + (f"; the text has drifted in {', '.join(drifted)[:500]}" if drifted else "")
