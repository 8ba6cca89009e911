"""The flow as Prefect records it: done, reused, failed, interrupted, on the sample."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.retrain import retrain
from pipelines import stages
from pipelines.errors import FolioError, UnreachableError, UsageError
from pipelines.model.backend import training_device
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings
from tasks.failures import UNFORESEEN
from tasks.reporting import settle
from tests.conftest import artifact_of
from tests.pipelines.mix.mixed_home import PLAY_NAME, mixed, pipelines
from tests.plain_stages import STAGES, inputs_of
from tests.prefect_server import one_run, rows, server_processes

pytestmark = pytest.mark.slow

__all__ = ["mixed", "pipelines"]  # fixtures

needs_no_gpu = pytest.mark.skipif(
    bool(list(Path("/dev").glob("nvidia[0-9]*"))), reason="this machine has a GPU"
)
LENGTH = 1_000_000  # bytes of a far-away text
DECLARATION = """\
source: {{url: "{url}", timeout_seconds: 5}}
corpus: {{reader: text, split: contiguous}}
tokens: {{kind: char}}
batches: {{sequence_length: 20}}
model: {{kind: language_model, cell: gru}}
registry: {{metric: perplexity}}
"""


@pytest.fixture
def home(prefect_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home for the runs; what they report goes to the session's server."""
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def declaration(folder: Path, url: str, *lines: str) -> Path:
    path = folder / "far-away.yaml"
    path.write_text("\n".join([DECLARATION.format(url=url), *lines]), encoding="utf-8")
    return path


def flow_run_of(prefect_home: Path, run: str) -> tuple[str, str, str, list[str]]:
    """(state type, state name, message, tags) of the flow run that has the run's id as its name."""
    ((kind, name, message, tags),) = rows(
        prefect_home,
        "select f.state_type, f.state_name, s.message, f.tags from flow_run f "
        "join flow_run_state s on s.id = f.state_id where f.name = ?",
        run,
    )
    return kind, name, message, json.loads(tags)


def task_runs_of(prefect_home: Path, run: str) -> list[tuple[str, str, str]]:
    """(name, state name, message) of the run's task runs, in order."""
    assert settle() == 0
    return rows(
        prefect_home,
        "select t.name, t.state_name, s.message from task_run t "
        "join task_run_state s on s.id = t.state_id join flow_run f on f.id = t.flow_run_id "
        "where f.name = ? order by t.start_time",
        run,
    )


def test_a_run_with_nothing_to_do_shows_each_stage_as_reused(
    prefect_home: Path, home: Path, trained: Settings, play: Path
) -> None:
    shutil.copytree(trained.home, home)
    record = retrain(str(play))
    assert record["state"] == "nothing-to-do" and record["metrics"] and record["version"]
    assert record == Runs(home / "runs").get(record["run"])
    assert flow_run_of(prefect_home, record["run"])[:2] == ("COMPLETED", "Nothing to do")
    assert task_runs_of(prefect_home, record["run"]) == [
        (f"tiny-play · {stage.name}", "Reused", "nothing changed") for stage in STAGES
    ]
    assert read_by_tasks(prefect_home, record["run"]) == {
        stage.name: set(inputs_of(stage)) for stage in STAGES
    }
    assert record["run"] in dashboard_of(home)


@pytest.mark.long
def test_a_model_mixed_with_counting(
    prefect_home: Path, home: Path, mixed: Settings, pipelines: dict[str, Path]
) -> None:
    """The task of the optional stage, and what reads it."""
    shutil.copytree(mixed.home, home)
    record = retrain(str(pipelines[PLAY_NAME]))
    assert record["state"] == "nothing-to-do" and record["mix"]
    has = {stage.name for stage in stages.STAGES if stage.when in (None, "mix")}
    assert read_by_tasks(prefect_home, record["run"]) == {
        stage.name: set(stage.reads(has)) for stage in stages.STAGES if stage.name in has
    }


def dashboard_of(home: Path) -> str:
    return (home / "dashboard" / "index.html").read_text(encoding="utf-8")


def read_by_tasks(prefect_home: Path, run: str) -> dict[str, set[str]]:
    """{stage: the stages it reads}, as Prefect draws it."""
    found = rows(
        prefect_home,
        "select t.id, t.name, t.task_inputs from task_run t join flow_run f "
        "on f.id = t.flow_run_id where f.name = ?",
        run,
    )
    named = {task.replace("-", ""): name.rpartition(" ")[2] for task, name, _ in found}
    return {
        name.rpartition(" ")[2]: {
            named[source["id"].replace("-", "")]
            for sources in json.loads(inputs).values()
            for source in sources
            if "id" in source
        }
        for _, name, inputs in found
    }


def test_only_one_stage_runs_again_though_nothing_changed(
    prefect_home: Path, home: Path, play: Path
) -> None:
    retrain(str(play), only="source", run="the-first")
    record = retrain(str(play), only="source", run="the-second")
    assert (record["run"], record["state"]) == ("the-second", "done")
    assert [entry["stage"] for entry in record["stages"]] == ["source"]
    assert task_runs_of(prefect_home, "the-second") == [
        ("tiny-play · source", "Completed", "rerun requested; nothing changed")
    ]


def test_a_stage_that_is_not_there_to_build_on_fails_the_run_with_one_line(
    prefect_home: Path, home: Path, play: Path
) -> None:
    line = "there is no source artifact to build on (not built yet); run without --only/--from"
    with pytest.raises(UsageError) as caught:
        retrain(str(play), since="corpus", run="too-early")
    assert str(caught.value) == line
    assert flow_run_of(prefect_home, "too-early")[:3] == ("FAILED", "Failed", line)
    assert task_runs_of(prefect_home, "too-early") == [("tiny-play · source", "Failed", line)]
    record = Runs(home / "runs").get("too-early")
    assert (record["state"], record["error"]) == ("failed", line)
    assert record["stages"][0]["action"] == "failed" and record["stages"][0]["key"] is None
    assert "too-early" in dashboard_of(home) and "not built yet" in dashboard_of(home)


def test_a_run_that_is_tried_again_keeps_its_id(home: Path, play: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow
    from prefect.states import AwaitingRetry, Crashed

    given = {"pipeline": str(play), "until": "source"}
    with get_client(sync_client=True) as client:
        first = client.create_flow_run(retrain, parameters=given)
        record = run_flow(retrain, flow_run=first, parameters=given)
        for state in (Crashed(), AwaitingRetry()):
            client.set_flow_run_state(first.id, state, force=True)
        again = run_flow(retrain, flow_run=client.read_flow_run(first.id), parameters=given)
    assert (record["run"], record["attempt"]) == (again["run"], again["attempt"] - 1)
    assert [one["attempt"] for one in Runs(home / "runs")] == [2]


def test_a_run_that_is_refused_before_it_begins_is_listed_and_on_the_dashboard(
    prefect_home: Path, home: Path, play: Path
) -> None:
    with pytest.raises(UsageError, match="no profile 'qick'"):
        retrain(str(play), profile="qick", run="with-a-typo")
    with pytest.raises(UsageError, match=r"training\.epocs") as caught:
        retrain(str(play), overrides=["training.epocs=2"], run="with-another")
    assert flow_run_of(prefect_home, "with-another")[:3] == ("FAILED", "Failed", str(caught.value))
    listed = {record["run"]: record for record in Runs(home / "runs")}
    assert {record["state"] for record in listed.values()} == {"failed"}
    assert listed["with-another"]["error"] == str(caught.value) and len(listed) == 2
    assert "with-a-typo" in dashboard_of(home) and "with-another" in dashboard_of(home)


def test_a_run_has_the_name_that_was_chosen_for_it_unless_it_is_taken(
    prefect_home: Path, home: Path, play: Path
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.flow_engine import run_flow

    def named(name: str) -> dict[str, Any]:
        given = {"pipeline": str(play), "until": "source"}
        with get_client(sync_client=True) as client:
            made = client.create_flow_run(retrain, name=name, parameters=given)
        return run_flow(retrain, flow_run=made, parameters=given)

    assert named("Before the fair")["run"] == "Before the fair"
    for own in ("slick-manticore", "psi209-cait-k"):  # Prefect's
        assert re.match(r"\d{8}-\d{6}-tiny-play-", named(own)["run"])
    assert [one["run"] for one in Runs(home / "runs")][-1] == "Before the fair"  # the oldest
    with pytest.raises(UsageError, match="there is a run Before the fair already"):
        named("Before the fair")
    assert Runs(home / "runs").get("Before the fair")["state"] == "done"


def test_an_unforeseen_error_is_one_line_too(
    prefect_home: Path, home: Path, play: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a library that breaks\nand says so in two lines")

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter", broken)
    with pytest.raises(ValueError, match="a library that breaks"):
        retrain(str(play), run="amazed")
    said = "ValueError: a library that breaks"
    line = UNFORESEEN.format(said)
    assert flow_run_of(prefect_home, "amazed")[:3] == ("FAILED", "Failed", line)
    assert ("tiny-play · corpus", "Failed", line) in task_runs_of(prefect_home, "amazed")
    assert Runs(home / "runs").get("amazed")["error"] == said


def test_the_sample_stands_in_for_a_source_that_cannot_be_reached(
    prefect_home: Path, home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = declaration(tmp_path, "http://127.0.0.1:1/play.txt")
    sampled = path.read_text().replace("source: {", "source: {sample: data/samples/play.txt, ")
    path.write_text(sampled, encoding="utf-8")
    with pytest.raises(UnreachableError):
        retrain(str(path), only="source", offline=True, run="refused")
    record = retrain(str(path), only="source", offline=True, allow_sample=True, run="sampled")
    assert record["sample"] and record["state"] == "done"
    assert (Path(record["stages"][0]["path"]) / "play.txt").is_file()
    assert flow_run_of(prefect_home, "sampled")[3] == ["sample"]
    assert flow_run_of(prefect_home, "refused")[3] == []
    assert [state for _, state, _ in task_runs_of(prefect_home, "sampled")] == [
        "Failed",
        "Completed",
    ]
    out, err = capfd.readouterr()
    assert out == "" and "SAMPLE" in err


class Dripping(BaseHTTPRequestHandler):
    """Sends a byte now and then, and the rest when it is over."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(LENGTH))
        self.end_headers()
        sent = 0
        with suppress(OSError):  # nobody wants it any more
            while not self.server.over.is_set():
                sent += self.wfile.write(b"x")
                self.server.asked.set()
                time.sleep(0.05)
            self.wfile.write(b"x" * (LENGTH - sent))

    def log_message(self, *arguments: object) -> None:
        """Not on the tests' output."""


@pytest.fixture
def dripping() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    server.asked, server.over = threading.Event(), threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGINT, -signal.SIGINT),
        pytest.param(signal.SIGTERM, 128 + signal.SIGTERM, marks=pytest.mark.long),
    ],
)
def test_an_interrupted_run_leaves_no_server_and_no_running_state(
    new_home: Path, tmp_path: Path, dripping: ThreadingHTTPServer, number: int, status: int
) -> None:
    path = declaration(tmp_path, f"http://127.0.0.1:{dripping.server_port}/text.txt")
    run = one_run(new_home, path)
    assert dripping.asked.wait(60)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (status, ""), err
    assert server_processes(new_home) == []
    assert rows(new_home, "select state_type from flow_run") == [("CRASHED",)]
    assert rows(new_home, "select state_type, name from task_run") == [
        ("CRASHED", "far-away · source")
    ]
    record = Runs(new_home / "runs").get("latest")
    assert (record["state"], record["error"]) == ("failed", "interrupted")
    assert record["stages"][0]["action"] == "failed"
    assert record["run"] in dashboard_of(new_home)


@pytest.mark.long
def test_a_run_goes_on_while_its_server_is_away(
    new_home: Path, tmp_path: Path, dripping: ThreadingHTTPServer
) -> None:
    run = one_run(new_home, declaration(tmp_path, f"http://127.0.0.1:{dripping.server_port}/t.txt"))
    assert dripping.asked.wait(60)
    (server,) = server_processes(new_home)
    os.kill(server, signal.SIGKILL)
    dripping.over.set()  # the stage ends before the server is back
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0 and out.startswith("http://127.0.0.1:"), err
    assert rows(new_home, "select state_type from flow_run") == [("COMPLETED",)]
    assert rows(new_home, "select state_type, name from task_run") == [
        ("COMPLETED", "far-away · source")
    ]
    assert Runs(new_home / "runs").get("latest")["state"] == "done"
    assert server_processes(new_home) == []


@needs_no_gpu
def test_a_gpu_that_is_required_and_not_there_fails_the_run(
    prefect_home: Path, home: Path, trained: Settings, play: Path
) -> None:
    shutil.copytree(trained.home, home)
    with pytest.raises(FolioError, match="no GPU that tensorflow can use on this machine") as error:
        retrain(str(play), only="model", require_gpu=True, run="required")
    assert "leave out --require-gpu" in str(error.value)
    assert flow_run_of(prefect_home, "required")[:3] == ("FAILED", "Failed", str(error.value))
    model = artifact_of(trained, "tiny-play", "model").key
    assert (home / "store" / "model" / model / "manifest.json").is_file()


@needs_no_gpu
def test_a_gpu_that_is_wished_for_and_not_there_is_missed_aloud() -> None:
    said: list[str] = []
    assert training_device("tensorflow", "preferred", said.append) == "cpu"
    assert said == ["no GPU that tensorflow can use on this machine: training on the CPU"]
    assert training_device("tensorflow", "any", said.append) == "cpu" and len(said) == 1
