"""A damaged artifact that is rebuilt with other bytes stops the run where more would be redone."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import FolioError
from pipelines.run.options import RunOptions, Selection
from pipelines.run.plan import Decision, plan
from pipelines.run.retraining import Retraining, retrain_plain
from pipelines.store.artifacts import Artifact
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, REVIEWS, artifact_of, declared, rewritten, spec_of

NAME, BATCHES = "tiny-changing", Selection.of(until="batches")
STEP = """
import secrets
def step(document):
    return f"{document.text} {secrets.choice('abcdefgh')}"
"""
KILLED = """
import os, signal, sys
from pathlib import Path
from tests.pipelines.run import test_other_bytes as here

def notice(text):
    if "corpus: rebuilt" in text:  # it is published, and the run has not stopped yet
        os.kill(os.getpid(), signal.SIGKILL)

home, path = here.Settings.at(Path(sys.argv[1])), Path(sys.argv[2])
here.ran(home, path, run=here.RUN, notice=notice)
"""
RUN = "a-killed-run"
IF_SAME = "nothing changed, if corpus is rebuilt with the same bytes"


@pytest.fixture
def changing(tmp_path: Path) -> Path:
    """A pipeline whose corpus is another one each time it is made."""
    (tmp_path / "mine.py").write_text(STEP)
    text = REVIEWS.replace("corpus: {{", "corpus: {{transform: mine:step, ")
    return declared(tmp_path, NAME, text)


@pytest.fixture
def home(tmp_path: Path, changing: Path) -> Settings:
    """A home with its batches, whose corpus was damaged afterwards."""
    settings = Settings.at(tmp_path / "home")
    ran(settings, changing)
    damage(artifact_of(settings, NAME, "corpus"))
    return settings


def damage(artifact: Artifact) -> None:
    victim = artifact.files("documents/train-")[0]
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")


def ran(
    settings: Settings, path: Path, selection: Selection = BATCHES, **asked: Any
) -> dict[str, str]:
    """{stage: action} of a run."""
    options = {"notice": lambda text: None, "selection": selection} | asked
    record = retrain_plain(str(path), settings=settings, **options)
    return {entry["stage"]: entry["action"] for entry in record["stages"]}


def planned(settings: Settings, path: Path, selection: Selection = BATCHES) -> dict[str, Any]:
    return {one.stage: (one.action, one.reason) for one in plan(spec_of(path), settings, selection)}


def test_the_run_stops_in_a_line_and_the_next_one_redoes_the_rest(
    home: Settings, changing: Path
) -> None:
    before = artifact_of(home, NAME, "batches")
    said = planned(home, changing)
    assert said["corpus"][0] == "rebuild" and said["source"][0] == "reuse"
    assert said["tokens"] == said["batches"] == ("reuse", IF_SAME)
    with pytest.raises(FolioError) as stopped:
        ran(home, changing)
    line = str(stopped.value)
    assert line.startswith(f"{NAME}: corpus artifact ") and "\n" not in line
    assert "rebuilt with other bytes than it had (documents/" in line
    assert "tokens, batches were made of the former bytes" in line and "run again" in line
    assert stopped.value.exit_code == 1
    record = next(iter(home.runs))
    assert record["state"] == "failed" and record["error"] == line
    assert [one["action"] for one in record["stages"]] == ["reuse", "rebuild"]
    assert artifact_of(home, NAME, "corpus").manifest["run"] == record["run"]
    assert home.store.open("batches", before.key) == before  # it is still what it was
    said = planned(home, changing)
    assert said["corpus"] == ("reuse", "nothing changed")
    assert said["tokens"] == ("run", "corpus changed") and said["batches"][0] == "run"
    assert ran(home, changing) == {name: said[name][0] for name in said}
    assert {one for one, _ in planned(home, changing).values()} == {"reuse"}


@pytest.mark.parametrize("since", [{"only": "corpus"}, {"since": "corpus"}])
def test_who_asks_for_a_rerun_gets_it(
    home: Settings, changing: Path, since: dict[str, str]
) -> None:
    selection = Selection.of(**since)
    asked = Selection(tuple(set(selection.stages) & set(BATCHES.stages)), selection.forced)
    done = ran(home, changing, asked)
    assert done["corpus"] == "rebuild" and set(done.values()) <= {"reuse", "rebuild", "run"}
    assert done.get("tokens") == ("run" if "since" in since else None)


def test_where_nothing_would_have_been_reused_it_goes_on(home: Settings, changing: Path) -> None:
    changing.write_text(changing.read_text().replace("kind: word", "kind: word, min_count: 2"))
    assert planned(home, changing)["tokens"] == ("run", "tokens.min_count 1 → 2")
    done = ran(home, changing)
    assert (done["corpus"], done["tokens"], done["batches"]) == ("rebuild", "run", "run")
    record = next(iter(home.runs))
    assert record["stages"][1]["reason"].endswith("; rebuilt with other bytes than it had")


def test_what_another_process_rebuilds_stops_it_too(home: Settings, changing: Path) -> None:
    """As a worker of the pool `gpu` does."""

    def elsewhere(decision: Decision) -> None:
        assert decision.action == "rebuild"
        ran(home, changing, Selection.of(only="corpus"))

    options = RunOptions(selection=BATCHES)
    notice: Callable[[str], None] = lambda text: None  # noqa: E731
    with (
        pytest.raises(FolioError, match="tokens, batches were made of the former bytes"),
        Retraining(str(changing), options, settings=home, notice=notice) as run,
    ):
        source = run.stage("source", lambda run: run.execute("source", ()))
        run.stage(
            "corpus", lambda run, one: run.execute_elsewhere("corpus", (one,), elsewhere), source
        )


@pytest.fixture
def killed(home: Settings, changing: Path) -> Artifact:
    """The corpus that a run has rebuilt with other bytes, just before it was killed."""
    former = plan(spec_of(changing), home, BATCHES)[1].damaged
    command = [sys.executable, "-c", KILLED, str(home.home), str(changing)]
    assert subprocess.run(command, cwd=PROJECT).returncode == -signal.SIGKILL
    corpus = home.store.open("corpus", former.key)
    assert corpus.digest != former.digest == corpus.manifest["replaced"]
    assert corpus.manifest["run"] == RUN and not home.runs.has(RUN)
    return corpus


def test_a_killed_run_stops_when_it_is_continued(
    home: Settings, changing: Path, killed: Artifact
) -> None:
    with pytest.raises(FolioError) as stopped:
        ran(home, changing, run=RUN, attempt=2)
    line = str(stopped.value)
    assert line.startswith(
        f"{NAME}: corpus artifact {killed.key[:12]} was damaged, and rebuilt with other bytes than "
        "it had; tokens, batches were made of the former bytes, so the run stopped here."
    )
    assert home.runs.get(RUN)["error"] == line
    done = ran(home, changing, run=RUN, attempt=3)  # who retries it knows
    assert (done["corpus"], done["tokens"], done["batches"]) == ("reuse", "run", "run")


def test_another_run_redoes_what_follows_a_killed_one(
    home: Settings, changing: Path, killed: Artifact
) -> None:
    done = ran(home, changing)
    assert (done["corpus"], done["tokens"], done["batches"]) == ("reuse", "run", "run")
    assert artifact_of(home, NAME, "tokens").manifest["replaced"] is None


def test_a_model_from_another_processor_says_so(
    trained: Settings, reviews: Path, tmp_path: Path
) -> None:
    """Its last bits may be others there, and it took hours to train."""
    shutil.copytree(trained.home, tmp_path / "home")
    home = Settings.at(tmp_path / "home")

    def elsewhere(manifest: dict[str, Any]) -> None:
        first = next(iter(manifest["files"]))
        manifest["files"][first]["sha256"] = "0" * 64
        manifest["counts"]["processors"] = ["SomeMaker 1/2 avx"]

    rewritten(home, "tiny-reviews", "model", elsewhere)
    with pytest.raises(FolioError, match=r"made on another processor: SomeMaker 1/2 → .*metrics"):
        retrain_plain(str(reviews), settings=home, notice=lambda text: None)
