"""A run that fails or crashes is told to a receiver: real server, real HTTP, real automations."""

from __future__ import annotations

import base64
import json
import re
import socketserver
import threading
from collections.abc import Iterator
from contextlib import suppress
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest
from prefect import State, flow
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Crashed, Failed

from flows.services.notifications import AUTOMATIONS, BLOCK, install_notifications
from flows.web.mail import Mail
from pipelines.errors import FolioError, UsageError
from tasks.failures import failed
from tests.conftest import PROJECT
from tests.prefect_server import rows

pytestmark = pytest.mark.slow  # imports Prefect

WAIT_SECONDS = 20
LINE = 'corpus: label "good" is neither <b> nor 否; fix corpus.labels\nand run it again'


class Receiver(ThreadingHTTPServer):
    """Keeps what is POSTed to it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiving)
        self.got: Queue[tuple[str, str, dict[str, Any]]] = Queue()
        self.url = f"http://127.0.0.1:{self.server_port}/hook?token=s3cret"

    def next(self) -> tuple[str, str, dict[str, Any]]:
        """(path, content type, JSON) of the next POST."""
        return self.got.get(timeout=WAIT_SECONDS)


class Receiving(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.put((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Not on the tests' output."""


@pytest.fixture
def receivers(prefect_home: Path) -> Iterator[tuple[Receiver, Receiver]]:
    both = Receiver(), Receiver()
    for one in both:
        threading.Thread(target=one.serve_forever, daemon=True).start()
    yield both
    with get_client(sync_client=True) as client:
        for name in AUTOMATIONS.values():
            for found in client.read_automations_by_name(name):
                client.delete_automation(found.id)
        for kind in (Webhook, Mail):
            with suppress(ObjectNotFound):
                for found in client.read_block_documents_by_type(kind.get_block_type_slug()):
                    client.delete_block_document(found.id)
    for one in both:
        one.shutdown()
        one.server_close()


@flow(name="retrain", flow_run_name="{run}")
def ending(run: str) -> State:
    """A flow of the name that is watched."""
    if run == "badly":
        return failed(FolioError(LINE))
    return Completed() if run == "well" else Failed(name="TimedOut", message="after 3 hours")


@flow(name="somebody-elses")
def other() -> State:
    return Failed(message="not ours")


def crash(name: str) -> str:
    """A flow run set Crashed through the API, as a worker does when the process is gone. Its id."""
    with get_client(sync_client=True) as client:
        run = client.create_flow_run(ending, name=name, parameters={"run": name})
        client.set_flow_run_state(run.id, Crashed(message="exited with status code: -9"))
        return str(run.id)


def id_of(prefect_home: Path, name: str) -> str:
    return rows(prefect_home, "select id from flow_run where name = ? order by created desc", name)[
        0
    ][0]


def test_a_failure_and_a_crash_arrive_and_nothing_else(
    prefect_home: Path, receivers: tuple[Receiver, Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIO_PREFECT_UI", "http://127.0.0.1:4200/")
    receiver, _ = receivers
    install_notifications(receiver.url)
    other(return_state=True)
    ending("well", return_state=True)
    ending("badly", return_state=True)
    assert receiver.next() == (
        "/hook?token=s3cret",
        "application/json",
        {
            "flow": "retrain",
            "run": "badly",
            "state": "Failed",
            "message": LINE,
            "url": f"http://127.0.0.1:4200/runs/flow-run/{id_of(prefect_home, 'badly')}",
        },
    )
    ending("late", return_state=True)
    assert receiver.next()[2]["state"] == "TimedOut"
    killed = crash("killed")
    assert receiver.next()[2] == {
        "flow": "retrain",
        "run": "killed",
        "state": "Crashed",
        "message": "exited with status code: -9",
        "url": f"http://127.0.0.1:4200/runs/flow-run/{killed}",
    }
    with pytest.raises(Empty):
        receiver.got.get(timeout=1)
    page = (PROJECT / "docs" / "notifications.md").read_text(encoding="utf-8")
    assert set(json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])) == {
        "flow",
        "run",
        "state",
        "message",
        "url",
    }


def test_the_last_address_alone_is_told(
    prefect_home: Path, receivers: tuple[Receiver, Receiver]
) -> None:
    old, new = receivers
    for receiver in (old, new, new):
        install_notifications(receiver.url)
    names = sorted(AUTOMATIONS.values())
    assert (
        sorted(
            name
            for (name,) in rows(
                prefect_home, "select name from automation where name like 'folio: a run%'"
            )
        )
        == names
    )
    crash("moved")
    assert new.next()[2]["run"] == "moved"
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name(BLOCK, "webhook", include_secrets=False)
        assert "s3cret" not in str(document.data)  # what the server's page shows
    assert old.got.empty()


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mail over SMTP, as little of it as is needed, and keeps who it is from and to, and
    what."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.got: Queue[tuple[str, str, EmailMessage]] = Queue()
        self.logins: list[str] = []


class Taking(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self._say("220 here")
        sender = recipient = ""
        while line := self.rfile.readline().decode().strip():
            verb = line.upper()
            if verb.startswith(("EHLO", "HELO")):
                self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
                continue
            if verb.startswith("AUTH PLAIN"):
                self.server.logins.append(base64.b64decode(line.split()[2]).decode())
                self._say("235 welcome")
                continue
            if verb.startswith("MAIL FROM:"):
                sender = line
            elif verb.startswith("RCPT TO:"):
                recipient = line
            elif verb == "DATA":
                self._say("354 go on")
                self.server.got.put((sender, recipient, self._message()))
            elif verb == "QUIT":
                return self._say("221 bye")
            self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())

    def _message(self) -> EmailMessage:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        return message_from_bytes(b"".join(lines), policy=default)


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_slack_and_mail_are_told_in_words(
    prefect_home: Path,
    receivers: tuple[Receiver, Receiver],
    mail_server: MailServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FOLIO_PREFECT_UI", "http://127.0.0.1:4200")
    slack, later = receivers
    port = mail_server.server_address[1]
    install_notifications(
        f"slack+{slack.url}\n"
        f"mailto://ann:s3cret@127.0.0.1:{port}?from=folio@example.org&to=ann@example.org\n"
    )
    ending("badly", return_state=True)
    page = f"http://127.0.0.1:4200/runs/flow-run/{id_of(prefect_home, 'badly')}"
    path, kind, message = slack.next()
    assert (path, kind) == ("/hook?token=s3cret", "application/json")
    plain = LINE.replace("<", "&lt;").replace(">", "&gt;")
    assert message == {"text": f"retrain badly: Failed\n{plain}\n{page}"}
    sender, recipient, mail = mail_server.got.get(timeout=WAIT_SECONDS)
    assert "<folio@example.org>" in sender and "<ann@example.org>" in recipient
    assert mail["Subject"] == "folio: retrain badly: Failed"
    body = mail.get_body(("plain", "html")).get_content()
    assert "is neither" in body and "否; fix corpus.labels" in body and page in body
    assert mail_server.logins == ["\0ann\0s3cret"]
    with get_client(sync_client=True) as client:
        for name, kind in ((BLOCK, "webhook"), (f"{BLOCK}-2", "folio-mail")):
            document = client.read_block_document_by_name(name, kind, include_secrets=False)
            assert "s3cret" not in str(document.data)
    install_notifications(later.url)  # the others' secrets are not kept
    with get_client(sync_client=True) as client:
        assert client.read_block_documents_by_type("folio-mail") == []
        (document,) = client.read_block_documents_by_type("webhook")
    assert document.name == BLOCK


def test_a_wrong_address_for_mail_says_no_secret(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UsageError, match=r"not an address for mail; write it like mailtos://") as e:
        install_notifications("mailtos://ann:s3cret@:nowhere")
    assert "s3cret" not in f"{e.value} {capfd.readouterr()} {caplog.text}"


@pytest.mark.parametrize(
    "address",
    [
        "example.org/hook",
        "ftp://example.org",
        "https://",
        "http://host:port/",
        "http://[::1/hook",
        "https://example.org/a hook",
        "http://127.0.0.1:0/",
        "",
    ],
)
def test_what_is_no_address_is_refused_in_one_line(prefect_home: Path, address: str) -> None:
    with pytest.raises(UsageError, match=r"not an http address.*https://example\.org/hook$"):
        install_notifications(address)
    assert rows(prefect_home, "select name from block_document where name = ?", BLOCK) == []
