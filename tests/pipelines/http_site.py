"""A real server of one file with whatever faults a test asks of it."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

BODY = random.Random(7).randbytes(300_000)
DIGEST = hashlib.sha256(BODY).hexdigest()
MARK = '"version-1"'
Reply = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Site:
    """What the server replies, one entry a request (the last for all later ones), and was asked."""

    address: str
    replies: list[Reply]
    server: ThreadingHTTPServer
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str = "text.txt") -> str:
        return f"{self.address}/{name}"

    def protocol(self, version: str) -> None:
        """HTTP/1.0 unless told: chunks are of 1.1."""
        self.server.RequestHandlerClass.protocol_version = version

    @property
    def ranges(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.asked]


def send(handler: BaseHTTPRequestHandler, code: int, body: bytes, **headers: object) -> None:
    handler.send_response(code)
    for name, value in ({"Content_Length": len(body)} | headers).items():
        if value is not None:
            handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)


def whole(handler: BaseHTTPRequestHandler) -> None:
    """All of it, whatever Range asks for."""
    send(handler, 200, BODY)


def resumable(handler: BaseHTTPRequestHandler) -> None:
    """As HTTP says: the rest alone when If-Range names the version that is served."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    if not asked or handler.headers.get("If-Range") != MARK:
        return send(handler, 200, BODY, ETag=MARK)
    start = int(asked[1])
    extent = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
    send(handler, 206, BODY[start:], ETag=MARK, Content_Range=extent)


def half(mark: str | None = MARK) -> Reply:
    return lambda h: send(h, 200, BODY[:150_000], Content_Length=len(BODY), ETag=mark)


def misfit(shift: int = 0, **headers: object) -> Reply:
    """A rest that claims to begin `shift` bytes from what was asked for."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        start = int(re.findall(r"\d+", handler.headers["Range"])[0]) + shift
        extent = {"Content_Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"}
        send(handler, 206, b"x" * (len(BODY) - start), **extent | headers)

    return reply


def status(code: int, **headers: object) -> Reply:
    return lambda handler: send(handler, code, b"", **headers)


def served(host: str = "127.0.0.1") -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            at = min(len(found.asked), len(found.replies) - 1)
            found.asked.append((self.path, dict(self.headers)))
            found.replies[at](self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    found = Site(f"http://{host}:{server.server_port}", [whole], server)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield found
    found.closing.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    yield from served()
