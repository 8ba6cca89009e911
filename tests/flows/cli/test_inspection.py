"""`folio init` and `folio check` as a user meets them, and what a declaration leads to."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli.main import main
from pipelines.registry.versions import versions
from pipelines.run.retraining import retrain_plain
from pipelines.store.settings import Settings
from tests.pipelines.inspection.test_proposal import PLAY, csv_of, json_of, labelled, parquet_of
from tests.pipelines.readers.test_packed import zipped
from tests.pipelines.readers.test_read import lay

Call = Callable[..., tuple[int, str, str]]
TWO = labelled(["ham", "spam"], 60)


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Call:
    """Calls the command in a folder of its own: its exit code, output and messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["folio", *arguments])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return run


def test_init_says_what_it_sees_and_writes_a_declaration(call: Call, tmp_path: Path) -> None:
    lay(tmp_path, {"My mails.csv": csv_of(TWO)})
    code, out, _ = call("init", "My mails.csv")
    assert code == 0 and (tmp_path / "my-mails.yaml").is_file()
    for line in (
        "labels    ham 60, spam 60",
        "next      folio run ./my-mails.yaml --profile quick",
    ):
        assert line in out.splitlines()
    code, out, _ = call("init", "My mails.csv", "--out", "a/b.yaml", "--json")
    assert code == 1  # there is no such folder
    (tmp_path / "a").mkdir()
    code, out, _ = call("init", "My mails.csv", "--out", "a/b.yaml", "--json")
    seen = json.loads(out)
    assert seen["file"] == "a/b.yaml" and seen["labels"] == {"ham": 60, "spam": 60}
    assert (tmp_path / "a" / "b.yaml").read_text() == seen["declaration"]
    assert call("plan", "a/b.yaml", "--profile", "quick")[0] == 0


def test_init_asks_before_it_replaces_a_file(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    lay(tmp_path, {"mails.csv": csv_of(TWO), "mails.yaml": "mine"})
    file = tmp_path / "mails.yaml"
    for typed in ("", "n\n"):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        code, _, said = call("init", "mails.csv")
        assert code == 2 and "mails.yaml exists and stays as it is" in said.splitlines()[-1]
        assert file.read_text() == "mine"
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert call("init", "mails.csv")[0] == 0 and "labels: [ham, spam]" in file.read_text()
    file.write_text("mine")
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert call("init", "mails.csv", "--yes")[0] == 0 and file.read_text() != "mine"
    code, _, said = call("init", "nothing.csv", "--yes")
    assert (code, said) == (2, "folio: nothing.csv: no such file or folder\n")
    assert call("init", "mails.csv", "--out", "mails.csv")[0] == 2


def test_check_names_what_is_wrong(call: Call, tmp_path: Path) -> None:
    lay(tmp_path, {"mails.csv": csv_of(TWO)})
    call("init", "mails.csv")
    code, out, _ = call("check", "./mails.yaml")
    assert code == 0 and out.splitlines()[-1] == "nothing would stop a run"
    with (tmp_path / "mails.csv").open("a") as file:
        file.write("1,x,eggs\n" * 9 + "1,2,3,4\n")
    code, out, _ = call("check", "./mails.yaml", "--json")
    found = json.loads(out)
    assert code == 1 and not found["usable"] and found["documents"] == 129
    assert [one["stops"] for one in found["findings"]].count(True) == 2
    code, out, _ = call("check", "./mails.yaml")
    lines = out.splitlines()
    assert code == 1 and lines[-1] == "a run would stop" and lines[1].startswith("STOPS")
    assert call("check", "./mails.yaml", "--set", "corpus.max_quarantined=1")[0] == 1
    assert not (tmp_path / "home" / "store").exists()  # nothing is kept
    assert call("check", "nothing.yaml")[0] == 2


def test_check_fetches_a_source_with_an_address(call: Call, tmp_path: Path) -> None:
    lay(tmp_path, {"mails.csv": csv_of(TWO)})
    call("init", "mails.csv")
    address = f"source={{url: 'file://{tmp_path}/mails.csv'}}"
    code, out, _ = call("check", "./mails.yaml", "--set", address)
    assert code == 0 and "120 texts" in out
    assert len(list((tmp_path / "home" / "store" / "source").glob("*/manifest.json"))) == 1


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "data", "metric"),
    [
        ("strings.csv", csv_of(TWO), "accuracy"),
        ("five.csv", csv_of(labelled(["a", "b", "c", "d", "e"], 40), ";"), "macro_f1"),
        ("rows.jsonl.gz", gzip.compress(json_of(TWO).encode()), "accuracy"),
        ("rows.parquet", parquet_of(TWO), "accuracy"),
        ("novels.zip", zipped({f"{n}.txt": PLAY[n * 12_000 :][:12_000] for n in range(3)}), "bits"),
    ],
)
def test_a_model_is_registered_with_no_edit(
    call: Call, tmp_path: Path, empty_registry: Path, name: str, data: bytes | str, metric: str
) -> None:
    lay(tmp_path, {name: data})
    assert call("init", name, "--yes")[0] == 0
    (file,) = tmp_path.glob("*.yaml")
    settings = Settings.at(tmp_path / "home")
    record = retrain_plain(str(file), "quick", settings=settings, notice=lambda text: None)
    assert record["state"] == "completed" or record["error"] is None
    (version,) = versions(settings.home, file.stem)
    assert version.name == file.stem and metric in json.dumps(record)
