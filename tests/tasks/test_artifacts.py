"""What stages leave in Prefect to look at, read back from the session's server."""

from __future__ import annotations

import base64
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact as Shown
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from pipelines.errors import FolioError
from pipelines.registry.versions import versions
from pipelines.run.execute import StageResult
from pipelines.run.options import RunOptions, Selection
from pipelines.run.retraining import Retraining
from pipelines.store.artifacts import Artifact, Progress
from pipelines.store.settings import Settings
from tasks.artifacts import MAX_ROWS, flat, publish, publish_counts, unseen
from tasks.pool import COUNTED
from tasks.progress import ProgressArtifact
from tasks.reporting import settle
from tasks.stages import build_corpus, download, evaluate, tokenize, train, write_batches
from tests.conftest import artifact_of
from tests.plain_stages import STAGES, inputs_of
from tests.relay import Relay, relayed

pytestmark = pytest.mark.slow  # imports Prefect


def shown_by(flow_run_id: str) -> dict[str, Shown]:
    """{key: the artifact} of a flow run, as the API gives it: of several the newest."""
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=chosen, limit=100)
    return {one.key: one for one in sorted(found, key=lambda one: one.created)}


@flow
def published(home: str, pipeline: str, action: str) -> tuple[str, list[str]]:
    """Publish what the stages of a pipeline made. The flow run's id, and the notices."""
    made: dict[str, StageResult] = {}
    notices: list[str] = []
    for stage in STAGES:
        artifact = artifact_of(Settings.at(Path(home)), pipeline, stage.name)
        made[stage.name] = StageResult(stage.name, action, "not built yet", 0.1, artifact)
        publish(
            pipeline,
            made[stage.name],
            tuple(made[name] for name in inputs_of(stage)),
            notices.append,
        )
    return flow_run.id, notices


def publish_all(trained: Settings, pipeline: str, action: str = "run") -> dict[str, Shown]:
    """{key without the pipeline: artifact}; nothing was to be noticed."""
    flow_run_id, notices = published(str(trained.home), pipeline, action)
    shown = shown_by(flow_run_id)
    assert notices == [] and all(key.startswith(f"{pipeline}-") for key in shown)
    return {key.removeprefix(f"{pipeline}-"): one for key, one in shown.items()}


@pytest.fixture(autouse=True)
def no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FOLIO_DASHBOARD", "FOLIO_MLFLOW_UI"):
        monkeypatch.delenv(name, raising=False)


def test_each_stage_leaves_a_table_and_pages(prefect_home: Path, trained: Settings) -> None:
    shown = publish_all(trained, "tiny-reviews")
    stages = {stage.name: "table" for stage in STAGES}
    pages = ("documents", "lengths", "padding", "loss", "figures", "verdict")
    assert {key: one.type for key, one in shown.items()} == stages | dict.fromkeys(
        pages, "markdown"
    )
    for name in ("lengths", "padding", "loss", "figures"):
        picture = re.search(r"!\[[\w ]+\]\(data:image/png;base64,([^)]+)\)", shown[name].data)
        assert base64.b64decode(picture[1]).startswith(b"\x89PNG")
    counts = artifact_of(trained, "tiny-reviews", "batches").counts
    table = json.loads(shown["batches"].data)
    assert {row["count"]: row["value"] for row in table} == dict(flat(counts))
    assert shown["batches"].description.startswith(
        "batches of tiny-reviews: run (not built yet), 0.1 s"
    )
    assert "samples" in publish_all(trained, "tiny-play")


def test_a_reused_stage_leaves_its_table_alone(prefect_home: Path, trained: Settings) -> None:
    assert set(publish_all(trained, "tiny-play", "reuse")) == {stage.name for stage in STAGES}


def test_links_lead_to_the_report_and_to_the_version(
    prefect_home: Path, trained: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIO_DASHBOARD", "http://127.0.0.1:8080")
    monkeypatch.setenv("FOLIO_MLFLOW_UI", "http://127.0.0.1:5000")
    shown = publish_all(trained, "tiny-play")
    key = artifact_of(trained, "tiny-play", "report").key
    assert shown["page"].data == (
        f"[The report](http://127.0.0.1:8080/store/report/{key}/report.html)"
    )
    assert shown["version"].data == (
        "[Version 1 in MLflow](http://127.0.0.1:5000/#/models/tiny-play/versions/1)"
    )
    (version,) = versions(trained.home, "tiny-play")
    assert shown["training"].data == (
        f"[The run with its curves in MLflow](http://127.0.0.1:5000/#/runs/{version.run})"
    )


def test_a_wrong_address_costs_the_links_alone(
    prefect_home: Path, trained: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIO_MLFLOW_UI", "127.0.0.1:5000")
    flow_run_id, notices = published(str(trained.home), "tiny-play", "run")
    shown = shown_by(flow_run_id)
    assert "tiny-play-verdict" in shown and "tiny-play-version" not in shown
    assert [line for line in notices if "release" in line] == [
        "tiny-play · release: the result is not shown in Prefect: FOLIO_MLFLOW_UI=127.0.0.1:5000:"
        " not an address; write it like http://127.0.0.1:4200"
    ]


@flow
def judged_again(pipeline: str, home: str) -> str:
    """The metrics alone, by the tasks themselves."""
    with Retraining(
        pipeline,
        RunOptions(selection=Selection.of(only="metrics")),
        settings=Settings.at(Path(home)),
    ) as run:
        corpus = build_corpus(run, download(run))
        tokens = tokenize(run, corpus, None)
        batches = write_batches(run, tokens)
        evaluate(run, train(run, batches, None), batches, tokens, corpus, None)
    return flow_run.id


def test_a_task_publishes_what_its_stage_made_from_what_it_read(
    prefect_home: Path, tmp_path: Path, trained: Settings, play: Path
) -> None:
    shutil.copytree(trained.home, tmp_path / "home")
    shown = shown_by(judged_again(str(play), str(tmp_path / "home")))
    assert set(shown) == {
        f"tiny-play-{name}"
        for name in (
            "source",
            "corpus",
            "tokens",
            "batches",
            "model",
            "metrics",
            "figures",
            "samples",
        )
    }
    assert "MARIAN:" in shown["tiny-play-samples"].data
    flow_run_id = str(next(iter(shown.values())).flow_run_id)
    wanted = ("source", "corpus", "tokens", "batches", "model", "metrics")
    listed = [key.removeprefix("tiny-play-") for key in on_the_page(flow_run_id)]
    assert [name for name in listed if name in wanted] == list(wanted)
    assert listed == [key.removeprefix("tiny-play-") for key in shown]  # by their time


def on_the_page(flow_run_id: str) -> list[str]:
    """The keys in the order in which Prefect's page asks for them, which names none."""
    wanted = {"flow_run_id": {"any_": [flow_run_id]}, "type": {"not_any_": ["result"]}}
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/filter", json={"artifacts": wanted}).json()
    return [one["key"] for one in found]


@flow(retries=1)
def published_twice(folder: str) -> str:
    """As a run whose first attempt ended."""
    attempt = flow_run.run_count
    artifact = Artifact("tokens", "0" * 64, Path(folder), {"counts": {"attempt": attempt}})
    publish_counts("tiny_play", StageResult("tokens", "run", "not built yet", 0.1, artifact))
    if attempt == 1:
        raise FolioError("the first attempt ends here")
    return flow_run.id


def test_a_second_attempt_replaces_the_card_of_the_first(
    prefect_home: Path, tmp_path: Path
) -> None:
    flow_run_id = published_twice(str(tmp_path))
    assert on_the_page(flow_run_id) == ["tiny-play-tokens"]
    table = json.loads(shown_by(flow_run_id)["tiny-play-tokens"].data)
    assert table == [{"count": "attempt", "value": "2"}]


@pytest.fixture
def relay(prefect_home: Path) -> Iterator[Relay]:
    """In front of the session's server; flows report through it, and do not try again."""
    address = urlsplit(json.loads((prefect_home / "prefect" / "server.json").read_text())["url"])
    with (
        relayed((address.hostname, address.port)) as found,
        temporary_settings(
            {PREFECT_API_URL: f"http://127.0.0.1:{found.port}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
        ),
    ):
        yield found
        settle()  # what waits for this server would hold up the end of the session


def two_stages(
    play: Path, home: Path, relay: Relay, back: Callable[[str], None]
) -> tuple[str, list[str]]:
    """The server goes away while the corpus is made; `back` hears the notices that follow."""
    notices: list[str] = []

    def notice(text: str) -> None:
        notices.append(text)
        back(text)

    def progress(stage: str) -> Progress:
        return lambda done, total, unit: relay.away() if stage == "corpus" else None

    @flow
    def deserted() -> str:
        with Retraining(
            str(play),
            RunOptions(selection=Selection(stages=("source", "corpus"))),
            settings=Settings.at(home, progress=progress),
            notice=notice,
        ) as run:
            corpus = build_corpus(run, download(run))
            assert (corpus.artifact.path / "quarantine.parquet").is_file()
        return flow_run.id

    return deserted(), notices


@pytest.mark.long
def test_a_stage_is_done_though_the_server_went_away_in_it(
    relay: Relay, tmp_path: Path, play: Path
) -> None:
    def back(text: str) -> None:
        if "corpus" in text and "not shown" in text:
            relay.back()  # for the flow's own end

    flow_run_id, notices = two_stages(play, tmp_path, relay, back)
    (lost,) = [line for line in notices if "not shown" in line]
    assert lost.startswith("tiny-play · corpus: the result is not shown in Prefect: ConnectError: ")
    assert "\n" not in lost and notices[-1].startswith("tiny-play · corpus: done in ")
    assert set(shown_by(flow_run_id)) == {"tiny-play-source"}


@pytest.mark.long
def test_a_server_that_is_soon_back_has_all(relay: Relay, tmp_path: Path, play: Path) -> None:
    waiting = threading.Event()
    threading.Thread(target=lambda: waiting.wait(60) and (time.sleep(1), relay.back())).start()
    away, relay.away = relay.away, lambda: (away(), waiting.set())
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 5}):  # as many as Prefect's own
        flow_run_id, notices = two_stages(play, tmp_path, relay, lambda text: None)
    assert not [line for line in notices if "not shown" in line]
    assert set(shown_by(flow_run_id)) == {
        "tiny-play-source",
        "tiny-play-corpus",
        "tiny-play-documents",
    }


def test_what_prefect_refuses_is_told_in_one_line(prefect_home: Path) -> None:
    notices: list[str] = []
    with get_client(sync_client=True) as client, unseen(notices.append, "that"):
        client.read_artifact(uuid4())
    with unseen(notices.append, "this"):
        create_markdown_artifact("text", "No Key")
    assert [line.split(": ")[0] for line in notices] == [
        "that is not shown in Prefect",
        "this is not shown in Prefect",
    ]
    assert not any("\n" in line for line in notices)


@flow
def long_table(folder: str) -> str:
    counts = {f"count {number}": number for number in range(MAX_ROWS + 3)}
    artifact = Artifact("tokens", "0" * 64, Path(folder), {"counts": counts})
    publish_counts("tiny_play", StageResult("tokens", "run", "not built yet", 0.1, artifact))
    return flow_run.id


def test_a_long_table_is_cut(prefect_home: Path, tmp_path: Path) -> None:
    table = json.loads(shown_by(long_table(str(tmp_path)))["tiny-play-tokens"].data)
    assert len(table) == MAX_ROWS + 1 and table[-1] == {"count": "…", "value": "3 more"}


def test_counts_are_flat_and_readable() -> None:
    counts = {
        "documents": 12345,
        "by": {"train": {"share": 0.912345}, "widths": [10, 2000]},
        "label": None,
        "sound": True,
    }
    assert list(flat(counts)) == [
        ("documents", "12,345"),
        ("by.train.share", "0.9123"),
        ("by.widths", "10, 2,000"),
        ("label", ""),
        ("sound", "True"),
    ]


@pytest.mark.long
def test_progress_is_shown_again_when_the_server_is_back(relay: Relay) -> None:
    notices: list[str] = []

    @flow
    def watched() -> str:
        report = ProgressArtifact("far", notices.append)
        report(0, None, "waiting")
        report(1, 8, "steps · loss 3.0")
        report(2, 8, "steps · loss 2.5")  # too soon to be sent
        assert (shown_by(flow_run.id)["far"].data, notices) == (12.5, [])
        relay.away()
        report(8, 8, "steps · loss 2.0")
        report(8, 8, "steps · loss 1.5")
        relay.back()
        report(3, 8, "steps · loss 1.3")  # too soon after requests that took so long
        assert shown_by(flow_run.id)["far"].data == 12.5
        report(8, 8, "steps · loss 1.0")
        return flow_run.id

    progress = shown_by(watched())["far"]
    assert (progress.type, progress.data) == ("progress", 100.0)
    assert re.fullmatch(
        r"8 of 8 steps \(100%\), [\d.]+/s, 0:00 left · loss 1.0", progress.description
    )
    far = COUNTED.match(progress.description)  # as the parent of a training elsewhere reads it
    assert (far["done"], far["total"], far["unit"], far["detail"]) == (
        "8",
        "8",
        "steps",
        "loss 1.0",
    )
    assert len(notices) == 1 and notices[0].startswith("far is not shown in Prefect: ConnectError")
