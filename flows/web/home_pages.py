"""Serves the dashboard, the reports and the comparisons of a home, to this machine only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from flows.web.guard import allowed_hosts, refusal
from flows.web.passwords import CHALLENGE, auth_string, is_let_in

# Earlier versions of Folio wrote the report into the release or the metrics.
SERVED = ("dashboard/", "store/report/", "store/release/", "store/metrics/", "comparisons/")
FIRST = "/dashboard/index.html"


class Handler(SimpleHTTPRequestHandler):
    """GET and HEAD of files in the SERVED folders, only from this machine: see
    flows/web/guard.py."""

    auth: str | None = None  # the required user:password
    first: Callable[[], str] | None = None  # makes the dashboard as it is now

    def send_head(self) -> BytesIO | BinaryIO | None:
        path = self.path.partition("?")[0]  # urlsplit() fails for invalid addresses
        if why := refusal(self.command, self.headers.items(), allowed_hosts()):
            self.send_error(HTTPStatus.FORBIDDEN, why)
        elif self.auth and not is_let_in(self.headers.get("Authorization"), self.auth):
            self._asks_for_password()
        elif path in ("/", "/dashboard", "/dashboard/"):
            self._moved(FIRST)
        elif not self._is_served():
            self.send_error(HTTPStatus.NOT_FOUND)
        elif path == FIRST and self.first is not None:
            return self._made(self.first())
        else:
            return super().send_head()
        return None

    def _is_served(self) -> bool:
        """Whether it is a file in a SERVED folder, after following all links."""
        try:
            root = Path(self.directory).resolve()
            path = Path(self.translate_path(self.path)).resolve()
            return path.is_file() and any(path.is_relative_to(root / name) for name in SERVED)
        except (OSError, ValueError):  # a null character or too long a name: no such file
            return False

    def _asks_for_password(self) -> None:
        self.send_response(HTTPStatus.UNAUTHORIZED)
        self.send_header("WWW-Authenticate", CHALLENGE)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _made(self, page: str) -> BytesIO:
        data = page.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        return BytesIO(data)

    def _moved(self, address: str) -> None:
        self.send_response(HTTPStatus.FOUND)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def end_headers(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("X-Frame-Options", "SAMEORIGIN")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, *arguments: object) -> None:
        """Do not log page requests."""


@contextmanager
def served(home: Path, port: int, first: Callable[[], str] | None = None) -> Iterator[str]:
    """The address of the home's pages, which are served while inside; `first` makes the dashboard,
    else its file is sent. Raises OSError if the port is taken."""
    own = {"auth": auth_string(home), "first": staticmethod(first) if first else None}
    handler = type("HomeHandler", (Handler,), own)
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(handler, directory=str(home)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
