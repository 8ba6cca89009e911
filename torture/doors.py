"""Other web sites, rebound names, traversal, listings, file modes, terminals, secrets, changed
models: nobody gets in and nothing gets out."""

from __future__ import annotations

import http.client
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from flows.server.server_process import free_port
from pipelines.files.home import PROJECT
from pipelines.files.small_files import read_object
from torture.homes import processes_of
from torture.trials import Row, Trials

MARK = "a-secret-that-must-not-get-out"
SITES: tuple[dict[str, str], ...] = (
    {"Host": "evil.example"},
    {"Host": "127.0.0.1.evil.example"},
    {"Host": "localhost@evil.example"},
    {"Host": ""},
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "https://127.0.0.1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
)
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")
PATHS = {
    "prefect": ("/", "/api/health", "/api/admin/version", "/api/flows/filter",
                "/api/flow_runs/count", "/api/admin/settings",
                "/api/block_documents/filter", "/docs", "/api/csrf-token"),
    "mlflow": ("/", "/health", "/version", "/api/2.0/mlflow/experiments/search",
               "/ajax-api/2.0/mlflow/registered-models/search", "/get-artifact?path=x",
               "/api/2.0/mlflow/experiments/create", "/graphql"),
    "dashboard": ("/", "/dashboard.html", "/runs/", "/store/", "/mlflow/mlflow.db"),
}  # fmt: skip
AWAY = (
    "/../secret.txt", "/..%2fsecret.txt", "/%2e%2e/secret.txt", "//secret.txt", "/./secret.txt",
    "/secret.txt", "/store/../secret.txt", "/..\\secret.txt", "/store/%2e%2e%2fsecret.txt",
    "/up/password", "/up/up.json", "/prefect/prefect.db", "/mlflow/journal.jsonl", "/runs",
    "/get-artifact?path=../../secret.txt&run_uuid=x", "/%00secret.txt", "/link/secret.txt",
    "/api/2.0/mlflow-artifacts/artifacts/../../secret.txt", "/static-files/../../../secret.txt",
)  # fmt: skip
HOSTILE = ("\x1b[2J", "\x1b]0;evil\x07", "\u202egnitseretni", "\x9b31m", "\r\x1b[A")


def tries(trials: Trials) -> None:
    home = trials.homes.new(trials.folder / "home", trials.homes.trained)
    (home / "secret.txt").write_text(MARK)
    (home / "secret.txt").chmod(0o600)
    with running(trials, home) as servers:
        kinds: list[Callable[[], None]] = [lambda: _site(trials, servers)] * 40
        kinds += [lambda: _traversal(trials, servers)] * 30
        kinds += [lambda: _terminal(trials, home), lambda: _model(trials, home)]
        kinds += [lambda: _secret(trials, home), lambda: _modes(trials, home)]
        while trials.go_on():
            trials.random.choice(kinds)()
        _modes(trials, home)


@contextmanager
def running(trials: Trials, home: Path) -> Iterator[dict[str, str]]:
    """The addresses of a `folio up`."""
    ports = [f"--{name}-port={free_port()}" for name in ("prefect", "mlflow", "dashboard")]
    said = trials.homes.folio(home, "up", "--detach", "--no-gpu", "--no-password", *ports)
    try:
        if not trials.expect(said.code == 0, f"folio up: {said.code}: {said.err[-500:]}"):
            trials.seconds = 0
        yield read_object(home / "up" / "up.json", addresses=dict)["addresses"]
    finally:
        trials.homes.folio(home, "down")
        for left in processes_of(home):
            left.kill()


def _asked(
    address: str, method: str, path: str, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """Status (0: it hung up), headers and body; sends just these headers."""
    place = urlsplit(address)
    assert place.hostname and place.port
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=60)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in ({"Host": place.netloc} | headers).items():
            connection.putheader(name, value)
        body = b"{}" if method in ("POST", "PUT", "PATCH") else b""
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, found, answer.read(1 << 20)
    except (http.client.HTTPException, ConnectionError):
        return 0, {}, b""
    finally:
        connection.close()


def _site(trials: Trials, servers: dict[str, str]) -> None:
    """A request as the page of another site makes a browser send it."""
    name = trials.random.choice(list(PATHS))
    method, path = trials.random.choice(METHODS), trials.random.choice(PATHS[name])
    headers = trials.random.choice(SITES)
    status, found, _ = _asked(servers[name], method, path, headers)
    trials.count("requests")
    what = f"{name}: {method} {path} with {headers}"
    refused = status in (0, 501) or 400 <= status < 500  # 501: it knows no such method
    trials.expect(refused, f"{what}: answers {status}")
    shared = [one for one in found if one.startswith("access-control-allow")]
    trials.expect(not shared, f"{what}: {shared}")


def _traversal(trials: Trials, servers: dict[str, str]) -> None:
    name = trials.random.choice(list(PATHS))
    path = trials.random.choice(AWAY)
    status, _, body = _asked(servers[name], "GET", path, {})
    trials.count("requests")
    trials.expect(MARK.encode() not in body, f"{name}: GET {path} shows a file of the home")
    trials.expect(b"SQLite format 3" not in body, f"{name}: GET {path} shows a database")
    listing = b"Directory listing" in body or b"Index of" in body
    trials.expect(not listing and status < 500, f"{name}: GET {path}: {status}, {body[:80]!r}")


def _terminal(trials: Trials, home: Path) -> None:
    """Texts that would command a terminal, if they were printed as they are."""
    hostile = trials.random.choice(HOSTILE)
    command = trials.random.choice(("predict reviews", "predict play", "show", "plan", "generate"))
    master, terminal = os.openpty()
    with os.fdopen(master, "rb", buffering=0) as screen:
        process = trials.homes.started(
            home,
            *command.split(),
            f"a film {hostile} to remember",
            stdout=terminal,
            stderr=terminal,
        )
        os.close(terminal)
        shown = b""
        with suppress(OSError):  # how a terminal ends
            while data := screen.read(1 << 16):
                shown += data
        process.wait()
    trials.count("hostile texts")
    commands = hostile in shown.decode(errors="replace")
    trials.expect(not commands, f"folio {command} prints {hostile!r} to a terminal")


def _model(trials: Trials, home: Path) -> None:
    """A registered model's file is changed: it must not be loaded."""
    files = (home / "mlflow" / "artifacts" / "reviews").rglob("package/**/*")
    path = trials.random.choice(sorted(path for path in files if path.is_file()))
    before = path.read_bytes()
    place = trials.random.randrange(len(before))
    path.write_bytes(before[:place] + bytes([before[place] ^ 1]) + before[place + 1 :])
    said = trials.homes.folio(home, "predict", "reviews", "a film to remember")
    path.write_bytes(before)
    trials.count("changed models")
    trials.expect(said.is_one_line, f"{path.name} was changed, and predict: {said.code} {said.err}")


class _Text(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        text = (PROJECT / "data" / "samples" / "play.txt").read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


def _secret(trials: Trials, home: Path) -> None:
    """A password in an address stands in no file of the home, no line and no process list."""
    import yaml

    secret, seen = f"pass{trials.random.randrange(10**12):012}", []
    declared = yaml.safe_load(trials.homes.declared("play").read_text(encoding="utf-8"))
    path = trials.folder / "secret.yaml"
    with ThreadingHTTPServer(("127.0.0.1", 0), _Text) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://user:${{WORD}}@127.0.0.1:{server.server_port}/play.txt?key=${{WORD}}"
        path.write_text(yaml.safe_dump(declared | {"source": {"url": address}}))
        given = ["run", path, "--until", "source"]
        process = trials.homes.started(home, *given, env={"WORD": secret})
        while process.poll() is None:
            seen += [one.pid for one in processes_of(home) if secret in _command(one)]
            try:
                process.wait(0.5)
            except Exception:  # it is not over
                continue
        out, err = process.communicate()
        server.shutdown()
    trials.count("secrets")
    trials.expect(process.returncode == 0, f"a run with a password: {err[-400:]}")
    trials.expect(not seen, f"a password stands in the process list of {seen}")
    trials.expect(secret not in out + err, "a password is printed")
    found = [
        one for one in home.rglob("*") if one.is_file() and secret.encode() in one.read_bytes()
    ]
    trials.expect(not found, f"a password stands in {[str(one) for one in found]}")


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _modes(trials: Trials, home: Path) -> None:
    """Nothing in a home is for others."""
    trials.count("looks at file modes")
    for folder, _, files in os.walk(home):
        for path in [Path(folder), *(Path(folder, name) for name in files)]:
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                continue
            private = stat.S_ISLNK(mode) or stat.S_ISSOCK(mode) or not mode & 0o077
            trials.expect(private, f"{path.relative_to(home)} has the mode {stat.filemode(mode)}")


ROW = Row("doors", "nobody gets in", {"requests": 20000, "hostile texts": 100}, tries)
