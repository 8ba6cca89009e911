"""`folio.run` is the command `folio run`: its answer is the result, its error an exception."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import folio
from tests.conftest import PROJECT

HEAVY = "keras tensorflow torch jax mlflow prefect pandas polars pyarrow numpy pydantic typer yaml"


def test_the_import_is_light() -> None:
    code = f"import sys, folio; print([name for name in {HEAVY.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.slow
def test_a_run_that_cannot_start_raises_the_commands_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flows").mkdir()  # the user's own must not be taken for Folio's
    (tmp_path / "flows" / "__init__.py").write_text("raise SystemExit('the wrong flows')")
    with pytest.raises(folio.UsageError, match=r"^unknown pipeline 'nowhere'; known: "):
        folio.run("nowhere")
    with pytest.raises(folio.UsageError, match=r"--set training.epochs: .*greater than 0"):
        folio.run("imdb", settings={"training.epochs": 0})
    with pytest.raises(folio.UsageError, match="no profile 'qick'; did you mean quick"):
        folio.run("imdb", "qick")
    assert capfd.readouterr() == ("", "") and not (tmp_path / "home").exists()


@pytest.mark.long
@pytest.mark.timeout(900)  # a busy machine takes minutes to start a server
def test_a_run_returns_its_record_or_raises_its_error(
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    with pytest.raises(folio.UsageError, match=r"no run of it has batches; make them with"):
        folio.batches(str(reviews))
    record = folio.run(reviews, settings={"batches.batch_size": 4}, until="batches")
    assert record["state"] == "done" and record["overrides"] == ["batches.batch_size=4"]
    assert [entry["stage"] for entry in record["stages"]] == [
        "source",
        "corpus",
        "tokens",
        "batches",
    ]
    out, err = capfd.readouterr()
    assert out == "" and "tiny-reviews · batches: done in" in err
    assert len(next(iter(folio.batches(str(reviews)).train))["length"]) == 4
    with pytest.raises(folio.FolioError, match="offline"):
        folio.run("shakespeare", offline=True, until="source")
