"""The flow that scores what is new, as Prefect records it; and `folio predict --file` and `-`."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import threading
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.cli.serving.standard_input import arriving
from flows.score import score
from pipelines.errors import FolioError
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, held_out
from tests.flows.cli.test_cli import FOLIO, assert_one_line, in_process
from tests.flows.test_retrain import flow_run_of, task_runs_of
from tests.prefect_server import rows
from tests.tasks.test_events import awaited, events

pytestmark = pytest.mark.slow  # imports Prefect

NAME = "tiny-reviews"
SAMPLE = PROJECT / "data" / "samples" / "reviews.csv"


@pytest.fixture
def home(trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the trained home."""
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    return shutil.copytree(trained.home, tmp_path / "home")


@pytest.fixture
def inbox(home: Path, trained: Settings) -> Path:
    folder = home / "inbox" / NAME
    folder.mkdir(parents=True)
    texts = held_out(trained, NAME)
    pl.DataFrame({"review": texts}).write_csv(folder / "reviews.csv")
    others = [f"{text} otherwise" * 3 for text in texts]
    pq.write_table(pa.table({"review": others}), folder / "other.parquet")
    return folder


def table_of(prefect_home: Path, run: str, name: str = NAME) -> list[dict]:
    found = rows(
        prefect_home,
        "select a.data from artifact a join flow_run f on "
        "f.id = a.flow_run_id where f.name = ? and a.key = ?",
        run,
        f"{name}-scored",
    )
    return [row for (data,) in found for row in json.loads(json.loads(data))]


def latest_run(prefect_home: Path) -> str:
    return rows(
        prefect_home,
        "select f.name from flow_run f join flow on flow.id = f.flow_id "
        "where flow.name = 'score' order by f.created desc limit 1",
    )[0][0]


@pytest.mark.long
def test_a_scheduled_run_scores_what_is_new_and_then_nothing(
    prefect_home: Path, home: Path, inbox: Path
) -> None:
    summaries = score(NAME, column="review")
    run = latest_run(prefect_home)
    out = home / "scored" / NAME
    assert [one["out"] for one in summaries] == [
        str(out / f"{name}.scored.parquet") for name in ("other.parquet", "reviews.csv")
    ]
    assert summaries[0]["drift"]["drifted"] and not summaries[1]["drift"]["drifted"]
    assert pq.read_metadata(out / "reviews.csv.scored.parquet").num_rows == summaries[1]["rows"]
    kind, state, message, _ = flow_run_of(prefect_home, run)
    assert (kind, state) == ("COMPLETED", "Completed")
    count = summaries[0]["rows"]
    assert message.startswith(f"2 files, {2 * count:,} rows; the text has drifted in ")
    assert task_runs_of(prefect_home, run) == [
        (f"{NAME} · {name}", "Completed", f"{count:,} rows")
        for name in ("other.parquet", "reviews.csv")
    ]
    shown = table_of(prefect_home, run)
    assert [row["rows"] for row in shown] == [count] * 2
    assert "median length" in shown[0]["drifted"] and shown[1]["drifted"] == "no"
    ((resource, payload, _),) = awaited(lambda: events(prefect_home, run))
    assert resource == f"folio.pipeline.{NAME}"
    assert payload["file"] == str(inbox / "other.parquet")
    assert payload["drifted"] == summaries[0]["drift"]["drifted"]

    assert score(NAME, column="review") == []
    assert flow_run_of(prefect_home, latest_run(prefect_home))[:2] == ("COMPLETED", "Nothing to do")


def test_a_bad_file_fails_the_run_and_keeps_no_other_from_being_scored(
    prefect_home: Path, home: Path, inbox: Path
) -> None:
    (inbox / "bad.csv").write_text('review\n"a\n')
    with pytest.raises(FolioError, match=r"bad.csv: the row at line 2"):
        score(NAME, column="review")
    kind, _, message, _ = flow_run_of(prefect_home, latest_run(prefect_home))
    assert kind == "FAILED"
    assert message.startswith("1 of 3 files could not be scored: bad.csv: the row at line 2")
    assert {path.name for path in (home / "scored" / NAME).glob("*.parquet")} == {
        "other.parquet.scored.parquet",
        "reviews.csv.scored.parquet",
    }


@pytest.mark.parametrize(
    ("pipeline", "given", "message"),
    [
        ("imdb", {}, "imdb: no model is registered; train one with: folio run imdb"),
        (NAME, {"file": "nowhere"}, "home/nowhere: no such file or folder"),
        (NAME, {"column": "riview"}, r"no column 'riview'; did you mean review?"),
        ("tiny-play", {"file": str(SAMPLE)}, r"reviews.csv: no column 'text'; name the one"),
    ],
)
def test_what_cannot_be_scored_fails_with_one_line(
    prefect_home: Path, inbox: Path, pipeline: str, given: dict, message: str
) -> None:
    with pytest.raises(FolioError, match=message):
        score(pipeline, **given)
    kind, _, said, _ = flow_run_of(prefect_home, latest_run(prefect_home))
    assert kind == "FAILED" and "\n" not in said and message.partition(";")[0][-20:] in said


def test_a_language_model_scores_what_is_new(prefect_home: Path, home: Path) -> None:
    folder = home / "inbox" / "tiny-play"
    folder.mkdir(parents=True)
    pl.DataFrame({"line": ["Who goes there?", "", "A friend."]}).write_csv(folder / "lines.csv")
    [summary] = score("tiny-play")
    out = home / "scored" / "tiny-play" / "lines.csv.scored.parquet"
    rows = pq.read_table(out).to_pylist()
    assert [row["error"] for row in rows] == [None, "the text is empty", None]
    assert summary["column"] == "line" and 0 < summary["bits_per_character"] < 20
    [shown] = table_of(prefect_home, latest_run(prefect_home), "tiny-play")
    assert shown["bits per character"] == summary["bits_per_character"]
    assert (shown["rows"], shown["not scored"], shown["drifted"]) == (3, 1, "no")
    assert score("tiny-play") == []


# The command


def test_the_command_scores_a_file(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = in_process({"FOLIO_HOME": str(home)}, monkeypatch, capfd)
    out = tmp_path / "scored.parquet"
    wish = ("predict", NAME, "--file", str(SAMPLE), "--out", str(out), "--column", "review")
    done = command(*wish)
    assert done.returncode == 0, done.stderr
    assert f"{out}: " in done.stdout and "version 1 was trained on" in done.stdout
    assert_one_line(command(*wish), 2, "scored.parquet already exists", "--force")
    unnamed = command(*wish[:-2], "--force", "--json")  # its declaration names the column
    summary = json.loads(unnamed.stdout)
    assert summary == json.loads((tmp_path / "scored.parquet.json").read_bytes())
    assert summary["rows"] == pq.read_metadata(out).num_rows > 300
    for wrong, *said in (
        (("predict", NAME, "--file", "none.csv", "--out", str(out)), "already"),
        (("predict", NAME, "--file", "none.csv", "--out", "x.csv"), "none.csv: no such file"),
        (("predict", NAME, "--file", str(SAMPLE)), "--out"),
        (("predict", NAME, "a", "--file", str(SAMPLE), "--out", "x.csv"), "either"),
        (("predict", NAME, "a", "--out", "x.csv"), "--file"),
        (("predict", NAME), "--file"),
        (("predict", "tiny-play", *wish[2:], "--force", "--all"), "language model"),
    ):
        assert_one_line(command(*wrong), 2, *said)


def test_the_command_says_what_a_file_costs_a_language_model(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = in_process({"FOLIO_HOME": str(home)}, monkeypatch, capfd)
    (tmp_path / "in.csv").write_text('line\nWho goes there?\n""\nA friend.\n')
    wish = ("--file", str(tmp_path / "in.csv"), "--out", str(tmp_path / "out.csv"))
    done = command("predict", "tiny-play", *wish)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "3 rows of column 'line' by tiny-play version 1" in lines[0]
    assert lines[1].startswith("bits per character ") and "22 tokens predicted" in lines[1]
    assert lines[3].split() == ["scored", "2", "66.7%"]
    assert lines[4].split("\t")[0] == "not scored: the text is empty"
    rows = pl.read_csv(tmp_path / "out.csv")
    assert rows.columns == ["line", "bits_per_character", "tokens", "characters", "error"]
    assert rows["tokens"].to_list() == [14, None, 8]


@pytest.mark.long
def test_lines_are_answered_while_more_may_come(home: Path) -> None:
    folio = subprocess.Popen(
        [FOLIO, "predict", NAME, "-"],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"FOLIO_HOME": str(home)},
    )
    try:
        for line, said in (
            (b"a fine film\r\n", b"a fine film"),
            (b"caf\xe9\n", b"error: "),
            (b"the end", None),
        ):
            folio.stdin.write(line)
            folio.stdin.flush()
            if said:
                assert select.select([folio.stdout], [], [], 120)[0]
                assert said in folio.stdout.readline()
        rest, err = folio.communicate(timeout=60)
        assert rest.endswith(b"the end\n") and folio.returncode == 0, err
    finally:
        folio.kill()
        folio.wait()


def test_what_has_arrived_makes_one_group() -> None:
    read, write = os.pipe()
    lines = [f"line {n} " + "x" * 100 for n in range(10_000)]
    sent = threading.Thread(target=_send, args=(write, lines))
    sent.start()
    with os.fdopen(read) as stream:
        groups = list(arriving(stream))
    sent.join()
    assert [line for group in groups for line in group] == lines
    assert all(groups) and len(groups) < 1000


def _send(descriptor: int, lines: list[str]) -> None:
    with os.fdopen(descriptor, "wb") as file:
        file.write("\n".join(lines).encode())
