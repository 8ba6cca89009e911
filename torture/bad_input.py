"""Files, archives, declarations, servers and command lines that are wrong: each gets one clear
line, in bounded time and memory."""

from __future__ import annotations

import resource
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from pipelines.files.home import PROJECT
from torture.homes import PIPELINES
from torture.trials import Row, Trials
from torture.wrong_files import FILES

SECONDS, BYTES = 120, 8 << 30  # of a command; TensorFlow's libraries alone take 3 GiB of addresses
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**30, "", "x", "../..", "\x1b[2J", "a\nb", [], {}, [[]], {"a": 1},
    ".inf", ".nan", "2024-01-01", "${HOME}", "!!python/object:os.system", "&a [*a]", "9" * 5000,
)  # fmt: skip
MARKS = ("\t", "{", "\0", "]", ": :", "%", "&x", "*x", "\u2028", "---")
WORDS = (
    "plan", "run", "check", "show", "models", "promote", "rollback", "predict", "generate",
    "report", "gc", "lineage", "diff", "export", "add", "remove", "list", "schema", "champion",
    "reproduce",
)  # fmt: skip
OPTIONS = (
    "--json", "--set", "--profile", "--only", "--until", "--seed", "--length", "--temperature",
    "--yes", "--keep", "--file", "--out", "--mirror", "--version", "--top", "--nonsense", "--",
)  # fmt: skip
GIVEN = (
    "play", "nothing", "play@1", "play@99", "../../etc/passwd", "", " ", "-1", "1e9", "nan",
    "\x1b[31m", "a=b", "training.epochs=0", "training.epochs", "x" * 5000, "/dev/null",
    "/dev/zero", ".", "é\udcff",
)  # fmt: skip


def tries(trials: Trials) -> None:
    home = trials.homes.new(trials.folder / "home", trials.homes.trained)
    kinds = (a_file, a_declaration, a_command, a_server)
    while trials.go_on():
        trials.random.choices(kinds, (3, 3, 3, 1))[0](trials, home)


def a_file(trials: Trials, home: Path) -> None:
    what = trials.random.choice(list(FILES))
    ending, make = FILES[what]
    path = trials.folder / f"given{ending}"
    path.write_bytes(make(trials.random))
    declared = _declared(trials, "reviews", {"source": {"path": str(path)}})
    if ending in (".zip", ".tar.gz", ".tar.xz"):
        declared["corpus"] = {"reader": "labelled-folders", "split": "hash"}
    if ending == ".jsonl":
        declared["corpus"]["reader"] = "jsonl"
    if ending == ".parquet":
        declared["corpus"]["reader"] = "parquet"
    command = trials.random.choice(("check", "init", "check"))
    given = [path, "--out", trials.folder / "made.yaml", "--yes"]
    if command == "check":
        given = [_written(trials, declared)]
    _asked(trials, home, what, command, *given)


def a_declaration(trials: Trials, home: Path) -> None:
    declared: Any = _declared(trials, trials.random.choice(list(PIPELINES)), {})
    place: Any = declared
    while True:
        key = trials.random.choice(list(place))
        if not isinstance(place[key], dict) or trials.random.random() < 0.2:
            break
        place = place[key]
    harm = trials.random.choice(("value", "key", "removed", "text"))
    if harm == "value":
        place[key] = trials.random.choice(VALUES)
    elif harm == "key":
        place[trials.random.choice(("colour", "", "1", "a.b", "é", key.upper()))] = place[key]
    elif harm == "removed":
        del place[key]
    path = _written(trials, declared)
    if harm == "text":
        text = path.read_text(encoding="utf-8")
        cut = trials.random.randrange(len(text))
        path.write_text(text[:cut] + trials.random.choice(MARKS) + text[cut:], encoding="utf-8")
    _asked(trials, home, f"declaration, {harm} of {key}", "plan", path)


def a_command(trials: Trials, home: Path) -> None:
    given = [trials.random.choice(WORDS)]
    for _ in range(trials.random.randint(0, 4)):
        given.append(trials.random.choice(trials.random.choice((OPTIONS, GIVEN))))
    if "run" in given[:1] and not {"nothing", "--nonsense"} & set(given):
        given.append("--nonsense")  # a run of the catalog would download
    try:
        [str(one).encode() for one in given]
        if any("\0" in one for one in given):
            return
    except UnicodeEncodeError:
        given = [one.encode(errors="replace").decode() for one in given]
    _asked(trials, home, f"command {given}", *given)


class _Wrong(BaseHTTPRequestHandler):
    """Answers as the last part of the address says."""

    def do_GET(self) -> None:
        how = self.path.strip("/").split(".")[0]
        if how == "redirect":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
            return
        status = {"missing": 404, "broken": 500, "busy": 503, "forbidden": 403}.get(how, 200)
        body = {"empty": b"", "page": b"<html>not the file</html>"}.get(how, b"a text\n" * 999)
        length = len(body) * 3 if how == "short" else len(body)
        self.send_response(status)
        if how != "unnamed":
            self.send_header("Content-Length", "many" if how == "length" else str(length))
        if how == "packed":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: Any) -> None:
        pass


HOW = (
    "redirect", "missing", "broken", "busy", "forbidden", "empty", "page", "short", "length",
    "packed", "unnamed",
)  # fmt: skip


def a_server(trials: Trials, home: Path) -> None:
    how = trials.random.choice(HOW)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Wrong) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/{how}.csv"
        declared = _declared(trials, "reviews", {})
        declared["source"] = {"url": url, "sha256": "0" * 64} if how == "page" else {"url": url}
        _asked(trials, home, f"server, {how}", "check", _written(trials, declared))
        server.shutdown()


def _declared(trials: Trials, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    trials.homes.declared(name)
    return yaml.safe_load(PIPELINES[name]) | changes


def _written(trials: Trials, declared: Any) -> Path:
    path = trials.folder / "given.yaml"
    path.write_text(yaml.safe_dump(declared), encoding="utf-8")
    if not (trials.folder / "texts").exists():
        shutil.copytree(PROJECT / "data" / "samples", trials.folder / "texts")
    return path


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))


def _asked(trials: Trials, home: Path, what: str, *command: Any) -> None:
    said = trials.homes.folio(
        home, *command, seconds=SECONDS, cwd=trials.folder, preexec_fn=_limited
    )
    trials.count("inputs")
    trials.count("refused in a line", said.is_one_line)
    named = f"{what} ({' '.join(map(str, command))[:200]!r})"
    if not trials.expect(said.code is not None, f"{named}: not over after {SECONDS} s"):
        return
    traceback = "Traceback" in said.err + said.out or "--verbose shows where" in said.err
    trials.expect(not traceback, f"{named}: {said.err[-600:]}")
    well = said.code in (0, 3) or said.is_one_line or (said.code in (1, 2) and _is_usage(said.err))
    trials.expect(well or traceback, f"{named}: exit code {said.code}: {said.err[-600:]}")


def _is_usage(err: str) -> bool:
    """Typer's own lines, or a table of findings on standard output."""
    return len(err.strip().splitlines()) <= 4


ROW = Row("bad input", "bad input gets one clear line", {"inputs": 2000}, tries)
