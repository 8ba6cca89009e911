"""On a real pseudo-terminal nothing that comes from outside commands the terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flows.cli.main import main
from flows.display.console import Console, native_notices_to
from flows.display.terminal import Terminal, guarded, rich_console
from pipelines.report.visible import UNSEEN, visible
from pipelines.store.settings import Settings
from tests.conftest import PROJECT

HOSTILE = "\x1b[31mred\x1b]0;title\x07\u202egnp.\u2066\x9b2J\r\x00"
SHOWN = r"\x1b[31mred\x1b]0;title\x07\u202egnp.\u2066\u009b2J\r\x00"
STYLE = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[12]?[AK]|\x1b\[2K")  # Rich's own


class Screen:
    """A pseudo-terminal, and all that is written to it."""

    def __init__(self) -> None:
        self._reading, self.descriptor = pty.openpty()
        self._seen = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._reading, 2**16)
            except OSError:  # EIO: the last writer has closed it
                return
            self._seen += data

    def stream(self) -> io.TextIOWrapper:
        return os.fdopen(os.dup(self.descriptor), "w", encoding="utf-8")

    def text(self) -> str:
        os.close(self.descriptor)
        self._reader.join(timeout=20)
        os.close(self._reading)
        return self._seen.decode().replace("\r\n", "\n")


def seen(text: str) -> str:
    """Without Rich's own escapes; nothing else may be left that a terminal obeys."""
    plain = STYLE.sub("", text).replace("\r", "")
    assert not UNSEEN.search(plain), repr(plain)
    return plain


@pytest.fixture
def home(trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    shutil.copytree(trained.home, tmp_path / "home")
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    return Settings.at(tmp_path / "home")


def on_screen(*arguments: str) -> tuple[int, str]:
    """`folio` in this process, on a terminal: its exit code and what the terminal got."""
    screen, code = Screen(), 0
    with pytest.MonkeyPatch.context() as patch, screen.stream() as out, screen.stream() as error:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", error)
        patch.setattr(sys, "argv", ["folio", *arguments])
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code or 0
        assert isinstance(sys.stdout, Terminal) and isinstance(sys.stderr, Terminal)
    return code, screen.text()


def test_a_wrong_name_is_one_harmless_line() -> None:
    screen = Screen()
    name = HOSTILE.replace("\0", "") + "\nfolio: all is well"
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "plan", name],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=screen.descriptor,
        stderr=screen.descriptor,
        timeout=60,
        check=False,
    )
    text = screen.text()
    assert done.returncode == 2 and text.count("\n") == 1
    assert visible(repr(name)) in seen(text)


def test_a_wrong_option_too() -> None:
    code, text = on_screen("plan", "imdb", f"--{HOSTILE}")
    assert code == 2 and r"No such option: --\x1b[31mred" in seen(text)


def test_tables_keep_their_style_alone(home: Settings) -> None:
    record = next(iter(home.runs))
    home.runs.save(record | {"run": "z-failed", "state": "failed", "error": HOSTILE})
    code, text = on_screen("runs")
    assert code == 0 and "\x1b[1m" in text  # the header's
    assert "".join(SHOWN.split()) in "".join(seen(text).split())
    code, text = on_screen("show", "z-failed")
    assert code == 0 and f"error: {SHOWN}" in seen(text)


def test_json_on_a_terminal_stays_json(home: Settings) -> None:
    record = next(iter(home.runs))
    home.runs.save(record | {"run": "z-failed", "state": "failed", "error": HOSTILE})
    code, text = on_screen("show", "z-failed", "--json")
    assert code == 0 and json.loads(seen(text))["error"] == HOSTILE


def test_what_a_model_writes_is_seen_and_a_pipe_gets_it_as_it_is(
    home: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start = "MARIAN:\n\t\x1b[5m\u202e"
    asked = ("generate", "tiny-play", "--start", start, "--length", "5", "--replace-unknown")
    code, text = on_screen(*asked)
    assert code == 0 and seen(text).startswith("MARIAN:\n")  # the terminal turns the tab to blanks
    assert r"\x1b[5m\u202e" in text
    monkeypatch.setattr(sys, "argv", ["folio", *asked])
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.startswith(start)


def test_half_a_surrogate_pair_ends_nothing(tmp_path: Path) -> None:
    """As a name in Latin-1 on the command line, where standard output is a pipe."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from flows.display.terminal import guard_streams\n"
            "import json, os, sys\nguard_streams()\n"
            "print(json.dumps(os.fsdecode(b'caf\\xe9'), ensure_ascii=False))",
        ],
        cwd=PROJECT,
        capture_output=True,
        timeout=60,
        check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0 and json.loads(done.stdout) == "caf\udce9"


def test_progress_and_notices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    with monkeypatch.context() as patch, screen.stream() as stream:
        patch.setattr(sys, "stderr", guarded(stream))
        with native_notices_to(tmp_path / "native.log"):
            pass  # which puts the stream back
        with Console() as console:
            console.progress(f"source {HOSTILE[:8]}")(1, 2, f"bytes of {HOSTILE}")
            console.notice(f"done: {HOSTILE}")
    text = seen(screen.text())
    assert f"done: {SHOWN}" in text and r"bytes of \x1b[31m" in text


def test_a_tree_and_markup_are_text() -> None:
    from rich.tree import Tree

    screen = Screen()
    with screen.stream() as stream:
        tree = Tree("made from")
        tree.add(HOSTILE).add("[red]a[/red]")
        terminal = guarded(stream)
        rich_console(terminal, width=200, highlight=False, markup=False).print(tree)
    text = seen(screen.text())
    assert f"── {SHOWN}" in text and "── [red]a[/red]" in text


def test_a_pipe_and_a_file_get_everything_as_it_is(tmp_path: Path) -> None:
    with (tmp_path / "out.txt").open("w", encoding="utf-8", newline="") as file:
        stream = guarded(file)
        print(HOSTILE, file=stream)
        rich_console(stream, width=200).print(f"\x1b[31m{SHOWN}", markup=False, highlight=False)
    assert (tmp_path / "out.txt").read_bytes().decode() == f"{HOSTILE}\n\x1b[31m{SHOWN}\n"


@pytest.mark.parametrize(
    "text",
    ["", "plain", "a\tb\nc", "日本語 العربية עברית 👩\u200d👧", "caf\u0301 \u00a0 \u2013", "\\x1b"],
)
def test_what_people_write_stays(text: str) -> None:
    assert visible(text) == text


def test_every_kind_of_it_is_seen() -> None:
    characters = [
        *map(chr, range(32)),
        *map(chr, range(0x7F, 0xA0)),
        "\u061c",
        "\u200e",
        "\u200f",
        *map(chr, range(0x2028, 0x202F)),
        *map(chr, range(0x2066, 0x206A)),
        "\ud800",
        "\udfff",
        "\ufeff",
        "\uffff",
        "\ufdd0",
    ]
    for character in set(characters) - {"\n", "\t"}:
        shown = visible(character)
        assert shown.isascii() and shown.isprintable()
        if ord(character) > 31:
            assert json.loads(f'"{shown}"') == character
