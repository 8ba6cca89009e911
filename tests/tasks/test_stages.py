"""The tasks on real stages: states, names, and what they leave to look at in Prefect."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect import flow

from pipelines.execute import Settings, StageResult
from pipelines.plan import Selection
from pipelines.retraining import Retraining
from pipelines.store import Artifact
from tasks.artifacts import (
    MAX_ROWS,
    ProgressArtifact,
    artifact_key,
    flat,
    publish_counts,
    publish_loss_curve,
)
from tasks.reporting import settle
from tasks.stages import build_corpus, download
from tests.prefect_server import rows


@flow(flow_run_name="{name}")
def two_stages(name: str, pipeline: str, home: str) -> dict[str, Any]:
    with Retraining(pipeline, settings=Settings.at(Path(home)), run=name,
                    selection=Selection(stages=("source", "corpus"))) as run:
        assert build_corpus(run, download(run)) is not None
    return run.record


def states(prefect_home: Path, flow_run: str) -> list[tuple[str, str, str]]:
    assert settle() == 0
    return rows(
        prefect_home, "select t.name, t.state_name, s.message from task_run t "
        "join task_run_state s on s.id = t.state_id join flow_run f on f.id = t.flow_run_id "
        "where f.name = ? order by t.start_time", flow_run)


def latest_artifact(prefect_home: Path, key: str) -> tuple[str, Any, str]:
    """(type, data, description) of the newest artifact with that key."""
    kind, data, description = rows(
        prefect_home, "select type, data, description from artifact where key = ? "
        "order by created desc limit 1", key)[0]
    return kind, json.loads(data) if isinstance(data, str) else data, description


def test_states_say_whether_a_stage_ran_was_reused_or_rebuilt(
        prefect_home: Path, tmp_path: Path, play: Path) -> None:
    home = str(tmp_path)
    made = two_stages("made", str(play), home)
    assert two_stages("again", str(play), home)["state"] == "nothing-to-do"
    documents = next(Path(made["stages"][1]["path"]).glob("documents/*.parquet"))
    documents.write_bytes(b"spoiled")
    two_stages("mended", str(play), home)
    assert states(prefect_home, "made") == [
        ("tiny-play · source", "Completed", "never made"),
        ("tiny-play · corpus", "Completed", "never made")]
    assert states(prefect_home, "again") == [
        ("tiny-play · source", "Reused", "nothing changed"),
        ("tiny-play · corpus", "Reused", "nothing changed")]
    damage = f"artifact damaged: documents/{documents.name} is not what was published"
    assert states(prefect_home, "mended")[1] == ("tiny-play · corpus", "Rebuilt", damage)


def test_a_stage_leaves_a_table_of_its_counts(prefect_home: Path, tmp_path: Path,
                                              play: Path) -> None:
    record = two_stages("counted", str(play), str(tmp_path))
    kind, data, description = latest_artifact(prefect_home, "tiny-play-corpus")
    manifest = json.loads((Path(record["stages"][1]["path"]) / "manifest.json").read_bytes())
    shown = {row["count"]: row["value"] for row in json.loads(data)}
    assert kind == "table" and shown == dict(flat(manifest["counts"])) and shown
    assert description.startswith("corpus of tiny-play: run (never made), ")


def test_an_unexpected_error_fails_the_task_and_the_flow_and_reaches_the_caller(
        prefect_home: Path, tmp_path: Path, play: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "source").write_text("where a folder should be")
    with pytest.raises(FileExistsError):
        two_stages("astonished", str(play), str(tmp_path))
    ((name, state, message),) = states(prefect_home, "astonished")
    assert (name, state) == ("tiny-play · source", "Failed") and "FileExistsError" in message
    assert rows(prefect_home, "select state_name from flow_run where name = ?",
                "astonished") == [("Failed",)]


def test_counts_are_flat_and_readable() -> None:
    counts = {"documents": 12345, "by": {"train": {"share": 0.912345}, "widths": [10, 2000]},
              "label": None, "sound": True}
    assert list(flat(counts)) == [
        ("documents", "12,345"), ("by.train.share", "0.9123"), ("by.widths", "10, 2,000"),
        ("label", ""), ("sound", "True")]


@flow(flow_run_name="watched")
def watched(model: str) -> None:
    publish_loss_curve("tiny_play", Path(model))
    report = ProgressArtifact(artifact_key("tiny_play", "progress"))
    report(0, None, "waiting")
    report(1, 8, "steps · loss 2.0")
    report(3, 8, "steps · loss 1.5")  # too soon to be sent
    assert percent_shown() == 12.5
    report(8, 8, "steps · loss 1.0")
    counts = {f"count {number}": number for number in range(MAX_ROWS + 3)}
    artifact = Artifact("tokens", "0" * 64, Path(model), {"counts": counts})
    publish_counts("tiny_play", StageResult("tokens", "run", "never made", 0.1, artifact))


def percent_shown() -> float:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_artifacts(limit=1, sort="CREATED_DESC")[0].data


def test_training_can_be_watched(prefect_home: Path, tmp_path: Path) -> None:
    epochs = list(range(1, 41))
    pq.write_table(pa.table({
        "epoch": epochs, "loss": [4 / n for n in epochs],
        "validation_loss": [4 / n + n / 50 for n in epochs]}), tmp_path / "history.parquet")
    watched(str(tmp_path))
    kind, text, _ = latest_artifact(prefect_home, "tiny-play-loss")
    picture = base64.b64decode(re.search(r"base64,([^)]+)\)", text)[1])
    assert kind == "markdown" and picture.startswith(b"\x89PNG")
    assert len(picture) < 30_000 and "epoch 40, loss 0.1, validation_loss 0.9" in text
    kind, percent, unit = latest_artifact(prefect_home, "tiny-play-progress")
    assert (kind, percent, unit) == ("progress", 100.0, "steps · loss 1.0")
    table = json.loads(latest_artifact(prefect_home, "tiny-play-tokens")[1])
    assert len(table) == MAX_ROWS + 1 and table[-1] == {"count": "…", "value": "3 more"}
