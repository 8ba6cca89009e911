"""The commands that a finished run proposes work as they are."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.display.runs import _next
from pipelines.files.whole_files import write_json
from pipelines.report.example import example_start, example_text
from pipelines.store.settings import Settings
from pipelines.tokens.vocabulary import Vocabulary

MAILS = [
    "-- \nForwarded",
    "Win!",
    'Dear Zoë,\n\nit\'s "free" & costs $5 `now`; $(call) us \\ today, please!',
]
FINE = "another line that is fine"
CHARACTERS = sorted(set(" abcdefghijklmnopqrstuvwxyz,'"))


def corpus(folder: Path, **splits: list[str]) -> Path:
    (folder / "documents").mkdir(parents=True)
    for split, texts in splits.items():
        pq.write_table(pa.table({"text": texts}), folder / "documents" / f"{split}-00000.parquet")
    return folder


def tokens(folder: Path, kind: str, known: list[str]) -> Path:
    (folder / "vocabulary").mkdir(parents=True)
    listed = ("<pad>", "<unknown>", *known)
    Vocabulary(kind, False, listed, (1,) * len(listed)).save(folder / "vocabulary")
    return folder


def record(folders: dict[str, Path], **metrics: float) -> dict[str, Any]:
    stages = [{"stage": stage, "path": str(path)} for stage, path in folders.items()]
    return {"run": "1-mails", "pipeline": "mails", "stages": stages, "metrics": metrics}


def as_the_shell_reads(command: str) -> list[str]:
    """The words of a command after its name, with nothing in it executed."""
    words = command.split(" ", 1)[1]
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, check=True, text=True
    )
    return done.stdout.split("\0")[:-1]


def test_a_held_out_text_is_proposed_and_quoted(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "corpus", train=["not this one, it was seen"], test=MAILS)
    command = _next(record({"corpus": folder}, accuracy=0.9))
    assert "\n" not in command and "film" not in command
    text = 'Dear Zoë, it\'s "free" & costs $5 `now`; $(call) us \\ today,'
    assert as_the_shell_reads(command) == shlex.split(command)[1:] == ["predict", "mails", text]


@pytest.mark.parametrize(
    ("texts", "text"),
    [
        (["   ", "short", "long enough for one line"], "long enough for one line"),
        (["名" * 200], "名" * 60),
        (
            ["one\x1b[2J line that is long enough", "another line that is fine"],
            "another line that is fine",
        ),
        (["word " * 400], "word " * 11 + "word"),
        (["no", ""], None),
        ([], None),
    ],
)
def test_a_text_is_one_line_that_fits(tmp_path: Path, texts: list[str], text: str | None) -> None:
    assert example_text(corpus(tmp_path, test=texts)) == text


def test_without_its_text_a_run_proposes_to_show_it(tmp_path: Path) -> None:
    assert _next(record({}, accuracy=0.9)) == "folio show 1-mails"
    assert _next(record({"corpus": tmp_path / "gone"}, accuracy=0.9)) == "folio show 1-mails"
    assert _next(record({"corpus": tmp_path})) == "folio show 1-mails"
    assert _next(record({}, perplexity=9.0)) == "folio generate mails"


@pytest.mark.parametrize(
    ("declared", "start"),
    [
        ("dear ", "dear "),
        ("dear\n", "dear"),
        ("", "it is a quiet line, that's all"),
        ("\n", "it is a quiet line, that's all"),
        ("Dear ", "it is a quiet line, that's all"),  # no capitals
        ("два слова", "it is a quiet line, that's all"),
        ("two\nlines", "it is a quiet line, that's all"),
    ],
)
def test_a_start_is_known_to_the_model(tmp_path: Path, declared: str, start: str) -> None:
    text = "A Title\n\n- an item\nит is not\nit is a quiet line, that's all of it\n"
    folders = {
        "corpus": corpus(tmp_path / "corpus", test=[text], train=["another line, seen before"]),
        "tokens": tokens(tmp_path / "tokens", "char", CHARACTERS),
        "metrics": tmp_path / "metrics",
    }
    assert example_start(declared, folders["corpus"], folders["tokens"]) == start
    folders["metrics"].mkdir()
    write_json(folders["metrics"] / "metrics.json", {"samples": [{"start": declared}]})
    command = _next(record(folders, perplexity=9.0))
    assert as_the_shell_reads(command) == ["generate", "mails", "--start", start]


def test_words_that_are_rare_in_the_test_text_come_from_another_split(tmp_path: Path) -> None:
    texts = {"test": ["strange words alone"], "validation": ["known words", "words known"]}
    folder = corpus(tmp_path / "corpus", train=["known"], **texts)
    vocabulary = tokens(tmp_path / "tokens", "word", ["known", "words"])
    assert example_start("film", folder, vocabulary) == "known words"
    nothing = tokens(tmp_path / "others", "word", ["film"])
    assert example_start("a film", folder, nothing) is None


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["tiny-reviews", "tiny-play"])
def test_a_real_run_proposes_what_its_model_reads(trained: Settings, pipeline: str) -> None:
    from pipelines.serving.predictor import Predictor
    from pipelines.serving.registered import load_champion

    found = next(one for one in trained.runs if one["pipeline"] == pipeline)
    _, command, name, *rest = shlex.split(_next(found))
    predictor = Predictor.load(load_champion(trained.home, name))
    if command == "predict":
        assert predictor.predict(rest)[0]["text"] == rest[0]
    else:
        assert predictor.generate([rest[1]], 5, 1.0, 1)[0]["start"] == rest[1]
