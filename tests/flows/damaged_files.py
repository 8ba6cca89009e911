"""Damages a small file of a home and calls all that reads it. Says what was wrong, as JSON.

    python -m tests.flows.damaged_files HOME        each file without the right to read it

HOME is a copy of the trained home and is changed.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from flows.cli.main import main
from pipelines.store.live_runs import dead_runs
from pipelines.store.settings import Settings
from pipelines.upkeep.findings import examined
from pipelines.upkeep.store_health import journal, records

NAME = "tiny-play"
LIVE = "20260101-000000-tiny-play-beef"
Damage = Callable[[Path], None]


def first(data: bytes) -> dict[str, Any]:
    """The object that a file holds, or its first line."""
    try:
        return json.loads(data)
    except ValueError:
        return json.loads(data.splitlines()[0])


BYTES = {  # of the whole content
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "random bytes": lambda data: bytes(range(256)) * 3,
    "not UTF-8": lambda data: data.replace(b'"', b'"\xff', 1),
    "a list": lambda data: b"[]",
    "an empty object": lambda data: b"{}",
    "null": lambda data: b"null",
    "a number": lambda data: b"17",
    "a text": lambda data: b'"text"',
    "other types": lambda data: json.dumps({key: [17] for key in first(data)}).encode(),
    "a key less": lambda data: json.dumps(dict(list(first(data).items())[1:])).encode(),
    "too deep": lambda data: b"[" * 200_000,
    "a number of 5,000 digits": lambda data: b'{"run": ' + b"9" * 5000 + b"}",
    "half a character": lambda data: data.replace(b'": "', b'": "\\ud800', 1),
}
WHOLE_FILE: dict[str, Damage] = {
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a dangling link": lambda path: (path.unlink(), path.symlink_to("nowhere")),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
}
DAMAGES: dict[str, Damage] = WHOLE_FILE | {
    name: lambda path, change=change: path.write_bytes(change(path.read_bytes())) and None
    for name, change in BYTES.items()
}


def record_of(home: Path) -> Path:
    return max((home / "runs").glob("*.json"))


def live_of(home: Path) -> Path:
    path = home / "runs" / ".live" / f"{LIVE}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "run": LIVE,
                "pipeline": NAME,
                "host": os.uname().nodename,
                "started": "2026-01-01T00:00:00Z",
                "pid": 1,
            }
        )
    )
    return path


def journal_of(home: Path) -> Path:
    return home / "mlflow" / "journal.jsonl"


def pending_of(home: Path) -> Path:
    path = home / "mlflow" / "journal.pending.json"
    path.write_bytes(journal_of(home).read_bytes().splitlines()[-1])
    return path


def folio(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and error of a command, in this process."""
    os.environ["FOLIO_HOME"] = str(home)
    before, sys.argv = sys.argv, ["folio", *arguments]
    out, err, code = io.StringIO(), io.StringIO(), 0
    try:
        with redirect_stdout(out), redirect_stderr(err):
            main()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    finally:
        sys.argv = before
    return code, out.getvalue(), err.getvalue()


class Tried:
    """What the commands made of a home; `wrong` is what they should not have."""

    def __init__(self, home: Path) -> None:
        self.home, self.settings, self.wrong = home, Settings.at(home), []

    def ask(self, *arguments: str, codes: tuple[int, ...] = (0,), named: str = "") -> str:
        """Standard output; a failure must be one line, in words, that names what is `named`."""
        code, out, err = folio(self.home, *arguments)
        said = [line for line in err.splitlines() if line.startswith("folio: ")]
        fine = (
            code in codes
            and "Traceback" not in err
            and "--verbose" not in err
            and (not code or (len(said) == 1 and named in said[0]))
        )
        self.expect(fine, f"folio {' '.join(arguments)}: {code} {err[-500:]}")
        return out

    def expect(self, true: bool, otherwise: str) -> None:
        if not true:
            self.wrong.append(otherwise)

    def nothing_may_go(self) -> None:
        items = json.loads(self.ask("gc", "--json") or '{"items": ["none"]}')["items"]
        self.expect(items == [], f"gc would delete {items}")

    def named_and_fixed(self, path: Path) -> None:
        """By doctor; what can be put aside is, once."""
        look = {
            "records": lambda: records(self.settings),
            "journal": lambda: journal(self.settings),
        }
        found = [one for one in examined(look) if str(path) in one.text]
        self.expect(len(found) == 1, f"doctor: {[one.text for one in examined(look)]}")
        for one in found:
            if one.repair is not None:
                said = one.repair()
                left = [again.text for again in examined(look) if str(path) in again.text]
                self.expect(left == [] and not os.path.lexists(path), f"doctor --fix: {said}")


def try_record(tried: Tried, path: Path) -> None:
    others = {one.stem for one in (tried.home / "runs").glob("*.json")} - {path.stem}
    tried.ask("list")
    listed = json.loads(tried.ask("runs", "--json") or "[]")
    tried.expect({one["run"] for one in listed} == others, f"runs: {listed}")
    shown = json.loads(tried.ask("show", "latest", "--json") or "{}")
    tried.expect(shown.get("run") in others, f"show: {shown}")
    tried.ask("lineage", f"{NAME}@1")
    tried.ask("dashboard")
    page = (tried.home / "dashboard" / "index.html").read_text()
    tried.expect(all(run in page for run in others), "the dashboard lists not the others")
    tried.expect(path.name in page, "the dashboard names not the file")
    tried.nothing_may_go()
    tried.named_and_fixed(path)


def try_live(tried: Tried, path: Path) -> None:
    tried.nothing_may_go()
    said = json.loads(tried.ask("status", "--json") or "{}")
    tried.expect("runs" in said, f"status: {said}")
    dead = [one["run"] for one in dead_runs(tried.home / "runs")]
    if os.access(path, os.R_OK) or not path.is_file():
        tried.expect(dead == [LIVE], f"dead: {dead}")
    else:
        tried.named_and_fixed(Path(f"{LIVE} is active"))


def try_pending(tried: Tried, path: Path) -> None:
    tried.nothing_may_go()
    tried.named_and_fixed(path)


def try_pending_at_once(tried: Tried, path: Path) -> None:
    """Without a doctor: whoever comes next sets it aside."""
    tried.ask("champion", NAME)
    tried.ask("promote", NAME, "1")
    tried.ask("verify")
    tried.expect(not os.path.lexists(path), f"{path} is still there")


def try_journal(tried: Tried, path: Path) -> None:
    unread = not os.access(path, os.R_OK) or path.is_dir()  # as a whole
    tried.ask("list")
    tried.nothing_may_go()
    tried.ask("dashboard")
    if unread or path.read_bytes():
        look = [one.text for one in examined({"journal": lambda: journal(tried.settings)})]
        tried.expect(any(str(path) in text for text in look), f"doctor: {look}")
    tried.ask("champion", NAME, codes=(0, 1), named="journal")
    tried.ask("verify", codes=(1,), named="journal")
    tried.ask("promote", NAME, "1", codes=(1,) if unread else (0,), named="journal.jsonl")
    tried.ask("champion", NAME, codes=(1,) if unread else (0,), named="journal.jsonl")


FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Tried, Path], None]]] = {
    "record": (record_of, try_record),
    "live": (live_of, try_live),
    "pending": (pending_of, try_pending),
    "pending at once": (pending_of, try_pending_at_once),
    "journal": (journal_of, try_journal),
}


def tried(home: Path, name: str, damage: Damage) -> list[str]:
    """What was wrong after the damage."""
    find, call = FILES[name]
    path, found = find(home), Tried(home)
    damage(path)
    call(found, path)
    return found.wrong


def unreadable(home: Path) -> dict[str, list[str]]:
    wrong = {}
    for name in FILES:
        shutil.copytree(home, copy := home.with_name(f"{home.name}-{name}"))
        wrong[name] = tried(copy, name, lambda path: path.chmod(0))
    return wrong


if __name__ == "__main__":
    print(json.dumps(unreadable(Path(sys.argv[1]))))
