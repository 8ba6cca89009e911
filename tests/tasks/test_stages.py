"""The tasks on real stages: states, names, messages."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from pipelines.cluster.engine import engine
from pipelines.run.options import RunOptions, Selection
from pipelines.run.retraining import Retraining
from pipelines.store.settings import Settings
from tasks.failures import UNFORESEEN
from tasks.reporting import settle
from tasks.stages import build_corpus, download
from tests.prefect_server import rows

pytestmark = pytest.mark.slow


@flow(flow_run_name="{name}")
def two_stages(name: str, pipeline: str, home: str, cluster: str | None = None) -> dict[str, Any]:
    with (
        engine(cluster) as steps,
        Retraining(
            pipeline,
            RunOptions(selection=Selection(stages=("source", "corpus")), run=name),
            settings=Settings.at(Path(home), steps=steps),
        ) as run,
    ):
        assert build_corpus(run, download(run)) is not None
    return run.record


def states(prefect_home: Path, flow_run: str) -> list[tuple[str, str, str]]:
    assert settle() == 0
    return rows(
        prefect_home,
        "select t.name, t.state_name, s.message from task_run t "
        "join task_run_state s on s.id = t.state_id join flow_run f on f.id = t.flow_run_id "
        "where f.name = ? order by t.start_time",
        flow_run,
    )


def test_states_say_whether_a_stage_ran_was_reused_or_rebuilt(
    prefect_home: Path, tmp_path: Path, play: Path
) -> None:
    home = str(tmp_path)
    made = two_stages("made", str(play), home)
    assert two_stages("again", str(play), home)["state"] == "nothing-to-do"
    documents = next(Path(made["stages"][1]["path"]).glob("documents/*.parquet"))
    documents.write_bytes(b"spoiled")
    two_stages("repaired", str(play), home)
    assert states(prefect_home, "made") == [
        ("tiny-play · source", "Completed", "not built yet"),
        ("tiny-play · corpus", "Completed", "not built yet"),
    ]
    assert states(prefect_home, "again") == [
        ("tiny-play · source", "Reused", "nothing changed"),
        ("tiny-play · corpus", "Reused", "nothing changed"),
    ]
    damage = f"artifact damaged: documents/{documents.name} is not what was published"
    assert states(prefect_home, "repaired")[1] == ("tiny-play · corpus", "Rebuilt", damage)


def test_an_unexpected_error_fails_the_task_and_the_flow_and_reaches_the_caller(
    prefect_home: Path, tmp_path: Path, play: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a library that breaks")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter", broken)
    with pytest.raises(ValueError, match="a library that breaks"):
        two_stages("astonished", str(play), str(tmp_path))
    (_, (name, state, message)) = states(prefect_home, "astonished")
    said = "ValueError: a library that breaks"
    assert (name, state, message) == ("tiny-play · corpus", "Failed", UNFORESEEN.format(said))
    assert rows(prefect_home, "select state_name from flow_run where name = ?", "astonished") == [
        ("Failed",)
    ]


@pytest.mark.long
def test_a_stage_on_a_cluster_shows_its_steps(
    prefect_home: Path, tmp_path: Path, play: Path
) -> None:
    two_stages("clustered", str(play), str(tmp_path), "local:1")
    ((described, data),) = rows(
        prefect_home,
        "select description, data from artifact where key = ?",
        "tiny-play-corpus-steps",
    )
    assert described.startswith("corpus of tiny-play: ") and described.endswith(" on 1 workers")
    table = json.loads(data)
    table = json.loads(table) if isinstance(table, str) else table
    steps = {row["step"]: row for row in table}
    assert "write-train-0000" in steps and "text-000000" in steps
    assert steps["write-train-0000"]["process"].startswith(socket.gethostname())
    ((percent,),) = rows(
        prefect_home, "select data from artifact where key = ?", "tiny-play-progress"
    )
    assert float(percent) == 100
