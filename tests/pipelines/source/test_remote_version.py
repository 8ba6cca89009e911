"""A source without checksums is asked whether it changed. Each run is planned first, and held to
the plan."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipelines.declaration.load import load_spec
from pipelines.declaration.spec import SourceSpec
from pipelines.errors import UnreachableError, UsageError
from pipelines.run.options import Selection
from pipelines.run.plan import plan
from pipelines.run.retraining import retrain_plain
from pipelines.source import remote_version
from pipelines.store.settings import Settings
from tests.conftest import PROJECT

PLAY = (PROJECT / "data" / "samples" / "play.txt").read_bytes()
OTHER = PLAY.replace(b"MARIAN", b"MARION")
MONDAY, TUESDAY = ("Mon, 05 Jan 2026 07:28:00 GMT", "Tue, 06 Jan 2026 07:28:00 GMT")
UNTIL_TOKENS = Selection.of(until="tokens")


@dataclass
class Site:
    """One file on a server: what it is now, how it is called there, and what was asked of it."""

    body: bytes = PLAY
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"a"'})
    refuse_head: int | None = None
    fail: int | None = None
    silent: bool = False
    moved: bool = False
    next_etags: list[str] = field(default_factory=list)  # taken by the answers, one each
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        method = handler.command
        self.asked.append(method if handler.path.endswith("play.txt") else f"{method} elsewhere")
        if self.silent:
            time.sleep(1)
        if self.moved and handler.path == "/play.txt":
            return self._send(handler, 302, {"Location": "/moved/to"}, b"")
        if self.fail or (method == "HEAD" and self.refuse_head):
            return self._send(handler, self.fail or self.refuse_head, {}, b"")
        if self.next_etags:
            self.headers = {"ETag": self.next_etags.pop(0)}
        self._send(handler, 200, self.headers, self.body)

    def _send(
        self, handler: BaseHTTPRequestHandler, code: int, headers: dict[str, str], body: bytes
    ) -> None:
        handler.send_response(code)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("NO_PROXY", "*")
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):  # who asked had seen enough
                found.answer(self)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


class Pipeline:
    """A declaration in a home of its own, retrained up to its tokens."""

    def __init__(self, folder: Path, **source: object) -> None:
        self.home, self.path, self.runs = folder / "home", folder / "mine.yaml", 0
        self.declare(**source)

    def declare(self, **source: object) -> None:
        self.path.write_text(
            json.dumps(
                {  # YAML reads JSON
                    "source": source,
                    "corpus": {"reader": "text", "split": "contiguous"},
                    "tokens": {"kind": "char"},
                    "batches": {"sequence_length": 50},
                    "model": {"kind": "language_model"},
                    "registry": {"metric": "perplexity"},
                }
            )
        )

    def plan(self, selection: Selection = UNTIL_TOKENS, **options: object) -> list[tuple[str, str]]:
        decided = plan(load_spec(str(self.path)), Settings.at(self.home, **options), selection)
        return [(decision.action, decision.reason) for decision in decided]

    def run(self, selection: Selection = UNTIL_TOKENS, **options: object) -> tuple[str, str, str]:
        """(action of the source, its reason, actions of the stages below): first planned."""
        planned = self.plan(selection, **options)
        self.runs += 1  # ids that sort, as those of runs in one second need not
        record = retrain_plain(
            str(self.path),
            settings=Settings.at(self.home, **options),
            selection=selection,
            run=f"run-{self.runs:02}",
            notice=lambda text: None,
        )
        source, *below = record["stages"]
        assert planned[0] == (source["action"], source["reason"])
        for (action, reason), entry in zip(planned[1:], below, strict=True):
            assert action == entry["action"] or "reused if the input bytes do not change" in reason
        return source["action"], source["reason"], " ".join(entry["action"] for entry in below)

    def text(self) -> bytes:
        """What the latest run used."""
        record = next(iter(Settings.at(self.home).runs))
        return next(Path(record["stages"][0]["path"]).glob("*.txt")).read_bytes()


@pytest.fixture
def mine(site: Site, tmp_path: Path) -> Pipeline:
    """A pipeline of the site's file, which has run once."""
    pipeline = Pipeline(tmp_path, url=f"{site.address}/play.txt")
    assert pipeline.run() == ("run", "not built yet", "run run")
    assert site.asked == ["HEAD", "HEAD", "GET"]  # the plan, the run
    site.asked.clear()
    return pipeline


REUSED = ("reuse", "nothing changed", "reuse reuse")


def test_what_is_unchanged_is_asked_for_and_no_more(site: Site, mine: Pipeline) -> None:
    mine.plan()
    assert site.asked == ["HEAD"]
    assert mine.run() == REUSED
    assert site.asked == ["HEAD"] * 3
    assert next(iter(Settings.at(mine.home).runs))["state"] == "nothing-to-do"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            {"ETag": '"a"', "Last-Modified": MONDAY},
            {"ETag": '"b"', "Last-Modified": MONDAY},
            'play.txt ETag "a" → "b"',
        ),
        ({"ETag": 'W/"a"'}, {"ETag": 'W/"b"'}, 'play.txt ETag W/"a" → W/"b"'),
        (
            {"Last-Modified": MONDAY},
            {"Last-Modified": TUESDAY},
            f"play.txt Last-Modified {MONDAY}, {len(PLAY)} bytes → {TUESDAY}, "
            f"{len(OTHER) + 1} bytes",
        ),
        (
            {"Last-Modified": MONDAY},
            {"Last-Modified": MONDAY},
            f"play.txt Last-Modified {MONDAY}, {len(PLAY)} bytes → {MONDAY}, "
            f"{len(OTHER) + 1} bytes",
        ),
        (
            {"Last-Modified": MONDAY},
            {"ETag": '"b"'},
            f'play.txt Last-Modified {MONDAY}, {len(PLAY)} bytes → ETag "b"',
        ),
    ],
)
def test_what_changed_is_fetched_and_the_change_is_named(
    site: Site, tmp_path: Path, before: dict[str, str], after: dict[str, str], said: str
) -> None:
    site.headers = before
    pipeline = Pipeline(tmp_path, url=f"{site.address}/play.txt")
    pipeline.run()
    assert pipeline.run() == REUSED
    site.body, site.headers = OTHER + b"\n", after
    assert pipeline.run() == ("run", f"source changed: {said}", "run run")
    assert pipeline.text() == OTHER + b"\n"
    assert pipeline.run() == REUSED


def test_the_same_bytes_under_a_new_name_rerun_nothing_below(site: Site, mine: Pipeline) -> None:
    site.headers = {"ETag": '"b"'}
    assert mine.run() == ("run", 'source changed: play.txt ETag "a" → "b"', "reuse reuse")
    assert mine.run() == REUSED


def test_a_server_that_names_no_version_is_downloaded_from_each_time(
    site: Site, mine: Pipeline
) -> None:
    site.headers = {}
    assert mine.run()[:2] == ("run", 'source changed: play.txt ETag "a" → no version named')
    again = ("run", "the server sends neither ETag nor Last-Modified, so it is downloaded again")
    assert mine.run() == (*again, "reuse reuse")
    site.body = OTHER
    assert mine.run() == (*again, "run run")
    assert mine.text() == OTHER


def closed_port() -> str:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{held.getsockname()[1]}/play.txt"


def test_when_the_server_fails_the_newest_copy_is_used(site: Site, mine: Pipeline) -> None:
    site.body, site.headers = OTHER, {"ETag": '"b"'}
    time.sleep(1)  # manifests tell seconds apart
    mine.run()
    site.fail = 503
    assert mine.run() == (
        "reuse",
        f"the source was not reachable: {site.address}/play.txt: answered 503 Service "
        "Unavailable; its newest copy is used",
        "reuse reuse",
    )
    assert mine.text() == OTHER


@pytest.mark.slow
def test_a_dead_server_and_one_that_says_nothing(
    site: Site, mine: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_version, "ASK_SECONDS", 0.2)
    site.silent = True
    action, reason, below = mine.run()
    assert (action, below) == ("reuse", "reuse reuse")
    assert "was not reachable" in reason and "timed out" in reason
    url = closed_port()
    mine.declare(url=url)  # of which nothing is here
    assert [action for action, _ in mine.plan()] == ["run", "run", "run"]
    assert mine.plan()[0][1].startswith("source.url ")
    assert (
        f"the source was not reachable: {url}: no answer (Connection refused)"
        in (mine.plan()[0][1])
    )
    with pytest.raises(UnreachableError, match="check the network"):
        mine.run()


def test_offline_asks_nobody(site: Site, mine: Pipeline) -> None:
    action, reason, below = mine.run(offline=True)
    assert (action, below) == ("reuse", "reuse reuse")
    assert reason == (
        f"the source was not reachable: {site.address}/play.txt: --offline forbids "
        "it; its newest copy is used"
    )
    assert site.asked == []


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_file_that_is_gone_from_its_address_is_kept(
    site: Site, mine: Pipeline, code: int
) -> None:
    site.fail = code
    action, reason, below = mine.run()
    assert (action, below) == ("reuse", "reuse reuse")
    assert f"was not reachable: {site.address}/play.txt: answered {code} " in reason


@pytest.mark.parametrize("code", [403, 405, 501])
def test_a_server_that_refuses_head_is_asked_with_get(
    site: Site, mine: Pipeline, code: int
) -> None:
    site.refuse_head = code
    assert mine.run() == REUSED
    assert site.asked == ["HEAD", "GET"] * 2
    site.headers = {"ETag": '"b"'}
    assert mine.run()[1] == 'source changed: play.txt ETag "a" → "b"'


def test_redirects_are_followed(site: Site, mine: Pipeline) -> None:
    site.moved = True
    assert mine.run() == REUSED
    assert site.asked == ["HEAD", "HEAD elsewhere"] * 2
    site.headers = {"ETag": '"b"'}
    assert mine.run() == ("run", 'source changed: play.txt ETag "a" → "b"', "reuse reuse")


def test_a_file_that_changes_while_it_is_fetched_is_not_believed(
    site: Site, mine: Pipeline
) -> None:
    """Asked by plan and run, fetched by run: the version that was fetched counts."""
    site.next_etags, site.body = ['"b"', '"b"', '"c"'], OTHER
    assert mine.run() == ("run", 'source changed: play.txt ETag "a" → "b"', "run run")
    assert mine.run()[:2] == ("run", 'source changed: play.txt ETag "b" → "c"')
    assert mine.run() == REUSED
    site.headers, site.body = {"ETag": '"b"'}, PLAY  # what lies here under "b" is not that
    assert mine.run()[:2] == ("run", 'source changed while it was fetched: play.txt ETag "b" → "c"')
    assert mine.text() == PLAY
    assert mine.run() == REUSED


def test_a_pinned_source_asks_nobody(site: Site, tmp_path: Path) -> None:
    pipeline = Pipeline(
        tmp_path, url=f"{site.address}/play.txt", sha256=hashlib.sha256(PLAY).hexdigest()
    )
    pipeline.run()
    assert site.asked == ["GET"]
    site.headers = {"ETag": '"b"'}
    assert pipeline.run() == REUSED
    assert site.asked == ["GET"]


def test_every_file_is_asked_for(site: Site) -> None:
    source = SourceSpec(url=(f"{site.address}/play.txt", f"{site.address}/other.txt"))
    site.next_etags = ['"a"', '"b"']
    assert remote_version.versions(source, None, False) == {
        "play.txt": 'ETag "a"',
        "other.txt": 'ETag "b"',
    }
    assert site.asked == ["HEAD", "HEAD elsewhere"]


# --- mirrors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_a_mirror_folder_is_read_instead(
    site: Site, mine: Pipeline, tmp_path: Path, prefix: str
) -> None:
    (tmp_path / "mirror").mkdir()
    copy, mirror = tmp_path / "mirror" / "play.txt", f"{prefix}{tmp_path / 'mirror'}"
    copy.write_bytes(PLAY)
    action, reason, below = mine.run(mirror=mirror, offline=True)
    assert (action, below) == ("run", "reuse reuse")
    assert reason.startswith('source changed: play.txt ETag "a" → SHA-256 ')
    assert mine.run(mirror=mirror) == REUSED
    copy.write_bytes(OTHER)
    action, reason, below = mine.run(mirror=mirror, offline=True)
    assert (action, below) == ("run", "run run")
    assert reason.startswith("source changed: play.txt SHA-256 ")
    assert site.asked == []
    copy.unlink()  # the mirror lacks it: its address is asked
    assert mine.run(mirror=mirror) == REUSED and mine.text() == PLAY
    assert site.asked == ["HEAD", "HEAD"]


def test_a_mirror_address_is_asked_instead(site: Site, mine: Pipeline) -> None:
    mirror = f"{site.address}/copies"
    assert mine.run(mirror=mirror) == (
        "run",
        f'source changed: play.txt ETag "a" → "a" at {mirror}/play.txt',
        "reuse reuse",
    )
    assert mine.run(mirror=mirror) == REUSED
    assert mine.run() == REUSED  # what came from the address itself is still here


def test_a_mirror_that_cannot_be_one_is_wrong_usage(mine: Pipeline) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        mine.plan(mirror="no-such-folder")


def test_a_file_address_is_read(tmp_path: Path) -> None:
    (tmp_path / "play.txt").write_bytes(PLAY)
    pipeline = Pipeline(tmp_path, url=f"file://{tmp_path}/play.txt")
    pipeline.run(offline=True)
    assert pipeline.run(offline=True) == REUSED
    (tmp_path / "play.txt").write_bytes(OTHER)
    assert pipeline.run(offline=True)[1].startswith("source changed: play.txt SHA-256 ")


# --- parts of a pipeline -------------------------------------------------------------------------


def test_what_builds_on_the_source_asks_nobody(site: Site, mine: Pipeline) -> None:
    site.headers = {"ETag": '"b"'}
    assert mine.run(Selection.of(only="corpus")) == (
        "reuse",
        "the source was not contacted: --only and --from build on the existing artifact; its "
        "newest copy is used",
        "run",
    )
    assert site.asked == []
    assert mine.run(Selection.of(only="source"))[1] == 'source changed: play.txt ETag "a" → "b"'
    assert mine.run(Selection.of(only="source"))[1] == "rerun requested; nothing changed"
