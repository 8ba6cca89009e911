"""Files, archives, declarations, servers, command lines and API calls that are wrong: each gets one
clear line, in bounded time and memory."""

from __future__ import annotations

import resource
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from pipelines.files.home import PROJECT
from torture.bad_calls import a_request, from_python, servers
from torture.homes import PIPELINES
from torture.trials import Row, Trials
from torture.wrong_files import FILES
from torture.wrong_values import GIVEN, MARKS, harmed

WITH_SERVERS = 300  # seconds: in fewer, there is no time to start them
SECONDS, BYTES = 120, 8 << 30  # of a command; TensorFlow's libraries alone take 3 GiB of addresses
WORDS = (
    "plan", "run", "check", "show", "models", "promote", "rollback", "predict", "generate",
    "report", "gc", "lineage", "diff", "export", "add", "remove", "list", "schema", "champion",
    "reproduce",
)  # fmt: skip
OPTIONS = (
    "--json", "--set", "--profile", "--only", "--until", "--seed", "--length", "--temperature",
    "--yes", "--keep", "--file", "--out", "--mirror", "--version", "--top", "--nonsense", "--",
)  # fmt: skip

Kind = Callable[[Trials, Path], None]


def tries(trials: Trials) -> None:
    home = trials.homes.new(trials.folder / "home", trials.homes.trained)
    kinds: list[Kind] = [a_file, a_declaration, a_command]
    kinds = kinds * 3 + [a_server]
    with ExitStack() as stack:
        if trials.seconds >= WITH_SERVERS:
            these = stack.enter_context(servers(trials, home))
            kinds += [from_python] + [lambda trials, home: a_request(trials, these)] * 20
        while trials.go_on():
            trials.random.choice(kinds)(trials, home)


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
    declared = _declared(trials, trials.random.choice(list(PIPELINES)), {})
    harm = "text" if trials.random.random() < 0.25 else harmed(trials.random, declared)
    path = _written(trials, declared)
    if harm == "text":
        text = path.read_text(encoding="utf-8")
        cut = trials.random.randrange(len(text))
        path.write_text(text[:cut] + trials.random.choice(MARKS) + text[cut:], encoding="utf-8")
    _asked(trials, home, f"declaration, {harm}", "plan", path)


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


ROW = Row("bad input", "bad input gets one clear line", {"inputs": 2000, "API calls": 5000}, tries)
