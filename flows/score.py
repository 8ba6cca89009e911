"""Files scored by a champion, as often as a schedule says: what is new or changed, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import State, flow
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from flows.display.console import Console
from flows.parameters import Pipeline, model_name
from flows.retrain import run_id
from pipelines.errors import FolioError
from pipelines.files.home import home_folder, private_files, users_files
from pipelines.files.machine import one_line
from pipelines.registry.lookup import named_version
from pipelines.serving.score_file import Classifier, Order
from pipelines.serving.score_folder import INBOX, OUTBOX, is_up_to_date, orders
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
    """Score the files that have no scores by the present champion. Gives their summaries.

    Args:
        pipeline: a classifier that has a champion
        file: a .csv or .parquet file, or a folder of them; inbox/PIPELINE of the home when empty
        out: the folder of the scores, or for one file their name; scored/PIPELINE when empty
        column: the column with the texts; text, or the only one with text, when empty
        prefix: stands before the added columns' names
        spreadsheet_safe: no cell of a .csv file named in out may be a formula
    """
    name = model_name(pipeline)
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
                    message=f"{places[0]}: all is scored by version {champion.number}",
                )
            classifier = Classifier.load(home, name, champion.number)
            return _scored(classifier, todo, console)
        except Exception as error:
            return failed(error)


def _place(home: Path, given: str | None, folder: str, name: str) -> Path:
    """A path that is not absolute is one in the home, wherever a worker was started."""
    return home / (Path(given).expanduser() if given else Path(folder) / name)


def _scored(classifier: Classifier, todo: list[Order], console: Console) -> State:
    """One bad file keeps no other from being scored."""
    summaries, problems = [], []
    progress = watched(classifier.name, console.progress, console.notice)
    for order in todo:
        try:
            with users_files(order.out):
                order.out.parent.mkdir(parents=True, exist_ok=True)
                summaries.append(score_one(classifier, order, flow_run.name, progress("score")))
            console.notice(f"{classifier.name} · {order.file.name}: {summaries[-1]['rows']:,} rows")
        except (FolioError, OSError) as error:
            problems.append(error)
            console.notice(f"{classifier.name} · {order.file.name}: {one_line(error)}")
    if summaries:
        publish_scores(classifier.name, summaries, console.notice)
    if problems:
        return Failed(
            data=problems[0],
            message=f"{len(problems)} of {len(todo)} files could not "
            f"be scored: {one_line(problems[0])}",
        )
    return Completed(message=_told(summaries), data=summaries)


def _told(summaries: list[dict[str, Any]]) -> str:
    drifted = [one["file"] for one in summaries if one["drift"] and one["drift"]["drifted"]]
    told = f"{len(summaries)} files, {sum(one['rows'] for one in summaries):,} rows"
    return told + (f"; the text has drifted in {', '.join(drifted)[:500]}" if drifted else "")
