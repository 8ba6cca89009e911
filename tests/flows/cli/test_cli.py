"""The command as a user meets it: its exit code, its one line, what it leaves.

`folio` is a real process. `command` is the same in this process: where a test calls it after a
process of its own has shown how it starts, loading TensorFlow again would show nothing more.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.cli.main import main
from flows.server.lifecycle import prefect_api
from pipelines.store.settings import Settings
from tests.conftest import JAPANESE, PLAY, REVIEWS, declared
from tests.pipelines.run.test_other_bytes import STEP
from tests.plain_stages import NAMES

pytestmark = pytest.mark.slow

FOLIO = str(Path(sys.executable).with_name("folio"))
Folio = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def api(prefect_home: Path) -> str:
    with prefect_api(prefect_home) as url:  # the session's server is running: this joins it
        return url


@pytest.fixture
def environment(api: str, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "FOLIO_HOME": str(tmp_path / "home"), "PREFECT_API_URL": api}


@pytest.fixture
def folio(environment: dict[str, str]) -> Folio:
    def call(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [FOLIO, *arguments],
            env=environment,
            text=True,
            input=text,
            capture_output=True,
            timeout=250,
        )

    return call


@pytest.fixture
def command(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Folio:
    """`folio` without a process of its own: seconds less, where its start is not what is tried."""
    return in_process(environment, monkeypatch, capfd)


def in_process(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Folio:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def call(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", [FOLIO, *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as leaving:
            code = leaving.code or 0
        return subprocess.CompletedProcess([FOLIO, *arguments], code, *capfd.readouterr())

    return call


@pytest.fixture
def ready(trained: Settings, tmp_path: Path) -> None:
    """The test's home is one in which both tiny pipelines have run."""
    shutil.copytree(trained.home, tmp_path / "home")


def write(folder: Path, text: str, name: str = "mine") -> str:
    return str(declared(folder, name, text))


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    last = "".join(done.stderr.splitlines()[-1:]) + done.stdout
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout
    for part in parts:
        assert part in last, done.stderr + done.stdout


def test_help_has_examples(folio: Folio) -> None:
    assert "folio run shakespeare imdb" in folio("--help").stdout
    for command in ("plan", "run", "compare", "tune", "predict", "generate"):
        assert f"folio {command}" in folio(command, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("run", "imbd"), ("imbd", "shakespeare")),
        (("plan", "imdb", "--set", "training.epocs=2"), ("training.epocs", "did you mean epochs")),
        (("run", "imdb", "--only", "tokenz"), ("tokenz", "tokens")),
        (("run", "imdb", "--only", "tokens", "--from", "model"), ("are mutually exclusive",)),
        (("run", "imdb", "--profile", "fast"), ("no profile 'fast'", "quick")),
        (("show", "nothing"), ("no run named 'nothing'", "folio runs")),
        (("models", "imdb"), ("folio run imdb",)),
        (("run", "./nowhere.yaml"), ("no such declaration",)),
        (("generate", "imdb", "--scale", "2", "--temperature", "1"), ("are mutually exclusive",)),
        (("generate", "imdb", "--scale", "0"), ("scale 0.0", "above 0")),
        (("generate", "imdb", "--scale", "inf"), ("scale inf", "above 0")),
    ],
)
def test_wrong_usage_runs_nothing(
    command: Folio, tmp_path: Path, arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    assert_one_line(command(*arguments), 2, *parts)
    assert not (tmp_path / "home" / "store").exists()


def test_predicting_without_a_model_says_what_to_do(folio: Folio) -> None:
    assert_one_line(folio("predict", "imdb", "x"), 2, "imdb", "folio run imdb")


def csv_of(rows: list[str]) -> str:
    return "review,sentiment\n" + "".join(f"{row}\n" for row in rows)


GOOD = [f"text number {i} with words,{'positive' if i % 2 else 'negative'}" for i in range(40)]
OWN_CSV = REVIEWS.replace("{samples}/reviews.csv", "own.csv").replace(
    "label_column: sentiment", "label_column: sentiment, labels: [negative, positive]"
)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (csv_of([*GOOD, *["so so,neutral"] * 5]).encode(), ("neutral",)),
        (csv_of([*GOOD, *[",positive"] * 5]).encode(), ("empty",)),
        (csv_of([*GOOD, *["caf\xe9,positive"] * 5]).encode("latin-1"), ("not-utf8",)),
        (csv_of(GOOD).replace("sentiment", "mood", 1).encode(), ("sentiment", "mood")),
        (b"", ("own.csv",)),
    ],
)
def test_bad_reviews_are_one_line(
    command: Folio, tmp_path: Path, content: bytes, parts: tuple[str, ...]
) -> None:
    (tmp_path / "own.csv").write_bytes(content)
    path = write(tmp_path, OWN_CSV)
    assert_one_line(command("run", path), 1, *parts)
    planned = command("plan", path, "--json")
    assert json.loads(planned.stdout)["stages"][1]["action"] == "run"


def test_a_rebuild_with_other_bytes_stops_the_run_and_the_next_one_goes_on(
    command: Folio, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(STEP)
    path = write(tmp_path, REVIEWS.replace("corpus: {{", "corpus: {{transform: mine:step, "))
    until = ("run", path, "--until", "batches")
    assert command(*until).returncode == 0
    (shard,) = (tmp_path / "home" / "store" / "corpus").glob("*/documents/test-0000.parquet")
    shard.write_bytes(b"x")
    stopped = command(*until, "--json")
    (record,) = json.loads(stopped.stdout)
    assert stopped.returncode == 1 and "Traceback" not in stopped.stderr
    assert (
        record["state"] == "failed" and "tokens, batches were made of the former" in record["error"]
    )
    assert [one["action"] for one in record["stages"]] == ["reuse", "rebuild"]
    (record,) = json.loads(command(*until, "--json").stdout)
    assert [one["action"] for one in record["stages"]] == ["reuse", "reuse", "run", "run"]


@pytest.mark.long
def test_a_text_shorter_than_one_sequence(folio: Folio, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("Too short a text for this.\n")
    path = write(tmp_path, PLAY.replace("{samples}/play.txt", "short.txt"))
    assert_one_line(folio("run", path), 1, "too few for one sequence of 50")
    assert folio("plan", path).returncode == 0


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {
                "{samples}/jawiki.txt": "notes",
                "reader: lines, split: hash": "reader: files, split: contiguous",
            },
            ("**/*.txt", "matches none", "notes.md"),
        ),
        ({"max_size: 1500": "max_size: 90000"}, ("max_size 90000", "or less")),
        (
            {"path: {samples}/jawiki.txt": "tfds: wiki40d/ja", "reader: lines": "reader: tfds"},
            ("no 'wiki40d'", "did you mean wiki40b"),
        ),
    ],
)
def test_bad_texts_are_one_line(
    command: Folio, tmp_path: Path, changes: dict[str, str], parts: tuple[str, ...]
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.md").write_text("no text file")
    text = JAPANESE
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    assert_one_line(command("run", write(tmp_path, text)), 1, *parts)


def test_plan_asks_where_run_would(folio: Folio, tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/play.txt"
    path = write(tmp_path, PLAY.replace("path: {samples}/play.txt", f'url: "{url}"'))

    def reason(*options: str) -> str:
        return json.loads(folio("plan", path, "--json", *options).stdout)["stages"][0]["reason"]

    assert reason("--offline") == (
        f"not built yet; the source was not reachable: {url}: --offline forbids it"
    )
    (tmp_path / "play.txt").write_text("A text of one's own.")
    assert reason("--offline", "--mirror", str(tmp_path)) == "not built yet"


FOLDERS = (
    REVIEWS.replace("{samples}/reviews.csv", "own.tar.gz")
    .replace("reader: csv, split: hash", "reader: labelled-folders, split: official")
    .replace("text_column: review,\n         label_column: sentiment", "group: film")
)


def archive(folder: Path, hostile: bool) -> Path:
    path = folder / "own.tar.gz"
    (folder / "1_9.txt").write_text("a fine film " * 500)
    with tarfile.open(path, "w:gz") as tar:
        for i in range(30):
            split, label = ("train", "test")[i % 2], ("pos", "neg")[i % 3 == 0]
            tar.add(folder / "1_9.txt", f"root/{split}/{label}/{i}_9.txt")
        if hostile:
            tar.add(folder / "1_9.txt", "root/../../outside.txt")
    return path


@pytest.mark.parametrize("harm", ["truncated", "hostile", "no archive"])
def test_bad_archives_are_refused(command: Folio, tmp_path: Path, harm: str) -> None:
    path = archive(tmp_path, harm == "hostile")
    if harm == "truncated":
        path.write_bytes(path.read_bytes()[:-40])
    elif harm == "no archive":
        path.write_bytes(gzip.compress(b"this is no archive " * 100))
    declared = write(tmp_path, FOLDERS)
    assert_one_line(command("run", declared), 1, "own.tar.gz")
    assert command("plan", declared).returncode == 0
    assert not (tmp_path.parent / "outside.txt").exists()


@pytest.mark.long
def test_runs_at_once_do_the_work_once_and_each_says_so_in_one_document(
    folio: Folio, command: Folio, tmp_path: Path, environment: dict[str, str]
) -> None:
    path = write(tmp_path, PLAY)
    both = [
        subprocess.Popen(
            [FOLIO, "run", path, "--json"],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=250) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    records = [record for out, _ in answers for record in json.loads(out)]
    assert len(records) == 2
    for number, stage in enumerate(NAMES):
        actions = [record["stages"][number]["action"] for record in records]
        assert sorted(actions) == ["reuse", "run"], (stage, actions)
        done = [
            f"mine · {stage}: {ended}" in err for _, err in answers for ended in ("done", "reused")
        ]
        assert done == [action == said for action in actions for said in ("run", "reuse")], answers
    for record in records:
        assert_whole(record)

    planned = json.loads(folio("plan", path, "--json").stdout)
    assert [s["action"] for s in planned["stages"]] == ["reuse"] * 8
    assert folio("plan", path, "--exit-code").returncode == 0
    assert folio("plan", path, "--exit-code", "--set", "training.epochs=1").returncode == 3
    again = json.loads(command("run", path, "--json").stdout)
    assert again[0]["state"] == "nothing-to-do"
    assert {entry["action"] for entry in again[0]["stages"]} == {"reuse"}


def assert_whole(record: dict[str, Any]) -> None:
    reused = {entry["action"] for entry in record["stages"]} == {"reuse"}
    assert record["state"] == ("nothing-to-do" if reused else "done") and record["error"] is None
    assert record["pipeline"] == "mine" and record["profile"] == "full" and not record["sample"]
    assert [entry["stage"] for entry in record["stages"]] == list(NAMES)
    assert all(Path(entry["path"]).is_dir() for entry in record["stages"])
    assert record["version"] == 1 and record["verdict"] == "promote"
    assert record["metrics"]["bits_per_character"] > 0
    assert Path(record["report"]).is_file()


@pytest.mark.long
def test_what_the_readme_shows(folio: Folio, command: Folio, ready: None) -> None:
    answers = json.loads(command("predict", "tiny-reviews", "a fine film", "", "--json").stdout)
    assert answers[0]["label"] in ("positive", "negative") and 0.5 <= answers[0]["probability"] <= 1
    lines = folio("predict", "tiny-reviews", "-", text="a fine film\ndull\n").stdout.splitlines()
    assert len(lines) == 2
    made = [
        json.loads(
            one(
                "generate",
                "tiny-play",
                "--start",
                "MARIAN:",
                "--length",
                "20",
                "--seed",
                "3",
                "--json",
            ).stdout
        )
        for one in (folio, command)
    ]
    assert made[0] == made[1]
    assert made[0][0]["start"] == "MARIAN:" and len(made[0][0]["text"]) == 20
    assert_one_line(command("generate", "tiny-play", "--start", "漢", "--length", "5"), 1, "漢")
    assert_one_line(command("generate", "tiny-play", "--temperature", "-1"), 2, "temperature")
    assert "tiny-play" in command("list").stdout and "champion" in command("models").stdout
    assert "tiny-reviews" in command("runs").stdout
    shown = json.loads(command("show", "--json").stdout)
    assert shown["stages"][0]["manifest"]["counts"]


def test_several_texts_from_each_start(command: Folio, ready: None) -> None:
    wish = ("--start", "MARIAN:", "--start", "ROBIN:", "--count", "3", "--length", "20")
    made = json.loads(command("generate", "tiny-play", *wish, "--json").stdout)
    assert [one["start"] for one in made] == ["MARIAN:"] * 3 + ["ROBIN:"] * 3
    for texts in (made[:3], made[3:]):
        assert len({one["text"] for one in texts}) == 3
    assert {len(one["text"]) for one in made} == {20}
    one = json.loads(command("generate", "tiny-play", *wish[:2], *wish[-2:], "--json").stdout)
    assert one == made[:1]
    assert_one_line(command("generate", "tiny-play", "--count", "0"), 2, "--count")


def test_a_window_of_words(folio: Folio, command: Folio, writers: Settings, tmp_path: Path) -> None:
    shutil.copytree(writers.home, tmp_path / "home")
    notice = "tiny-words: only 3 of the 4 words that it was trained on: 'some of them'\n"
    done = folio("predict", "tiny-words", "some of them", "--top", "100000", "--json")
    [answer] = json.loads(done.stdout)
    assert done.stderr == notice and sum(one["probability"] for one in answer["next"]) > 0.9999
    assert answer["next"] == sorted(answer["next"], key=lambda one: -one["probability"])
    shown = command("predict", "tiny-words", "and some of them", "--top", "2")
    assert shown.stderr == "" and len(shown.stdout.splitlines()) == 3

    wish = (
        "generate",
        "tiny-words",
        "--start",
        "some of them",
        "--start",
        "the zzz of them",
        "--length",
        "9",
        "--scale",
        "2",
        "--json",
    )
    assert_one_line(command(*wish), 1, "does not know 'zzz'", "--replace-unknown")
    done = command(*wish, "--replace-unknown")
    made = json.loads(done.stdout)
    assert done.stderr == notice and [one["temperature"] for one in made] == [0.5, 0.5]
    assert all(len(one["text"].split()) == 9 for one in made)
    assert json.loads(command(*wish, "--replace-unknown", "--context", "1").stdout) != made


@pytest.mark.long
def test_japanese_in_japanese_out(
    folio: Folio, command: Folio, writers: Settings, tmp_path: Path
) -> None:
    shutil.copytree(writers.home, tmp_path / "home")
    done = folio("generate", "tiny-japanese", "--start", "日本の", "--length", "30", "--top-k", "5")
    assert done.stderr == "" and done.stdout.startswith("日本の")
    assert any("ぁ" <= character <= "ん" for character in done.stdout.removeprefix("日本の"))
    assert_one_line(
        command("generate", "tiny-japanese", "--start", "日本€"), 1, "does not know '€'"
    )


def test_the_dashboard_says_where_its_page_is(folio: Folio, ready: None, tmp_path: Path) -> None:
    page = tmp_path / "home" / "dashboard" / "index.html"
    assert folio("dashboard").stdout == f"{page}\n"
    assert "tiny-play" in page.read_text(encoding="utf-8")
    told = json.loads(folio("dashboard", "--json").stdout)
    assert told["page"] == str(page) and told["disk"]["total"] > 0
    assert {"tiny-play", "tiny-reviews"} < {one["pipeline"] for one in told["pipelines"]}
    assert [run["pipeline"] for run in told["runs"]] == ["tiny-play", "tiny-reviews"]


@pytest.mark.long
@pytest.mark.timeout(600)  # seven processes of the command
def test_ctrl_c_in_each_stage(tmp_path: Path, environment: dict[str, str], command: Folio) -> None:
    """Interrupted as soon as the stage before is there, each run goes on from what stayed."""
    path = write(tmp_path, PLAY)
    for after in (None, *NAMES[:-1]):
        interrupt_after(after, path, environment)
        assert command("plan", path).returncode == 0
    assert command("run", path).returncode == 0
    planned = json.loads(command("plan", path, "--json").stdout)
    assert {stage["action"] for stage in planned["stages"]} == {"reuse"}


def interrupt_after(after: str | None, path: str, environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        [FOLIO, "run", path],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    seen: list[str] = []
    if after is None:
        while not Path(environment["FOLIO_HOME"], "logs").exists():  # about to look for a server
            time.sleep(0.02)
    else:
        for line in process.stderr:
            seen.append(line)
            if line.startswith((f"mine · {after}: done", f"mine · {after}: reused")):
                break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    whole = "".join(seen) + err
    assert process.returncode == 130, (after, whole)
    assert whole.strip().splitlines()[-1].startswith("folio: interrupted"), after
    assert "Traceback" not in whole + out, after
