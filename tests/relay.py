"""A server that can go away and come back: a relay on 127.0.0.1 to one that stays."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer


class Relay:
    """Passes on to `upstream`, (host, port), what reaches `port`, until it is `away`."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._server: _Server | None = None
        self.port = 0
        self.back()

    def back(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Passing)
        self._server.upstream, self.port = self._upstream, self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def away(self) -> None:
        """Refuse connections and break those that there are."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.break_off()
            self._server = None


@contextmanager
def relayed(upstream: tuple[str, int]) -> Iterator[Relay]:
    relay = Relay(upstream)
    try:
        yield relay
    finally:
        relay.away()


class _Server(ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    block_on_close = False

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self._open: set[socket.socket] = set()

    def noted(self, connection: socket.socket) -> None:
        self._open.add(connection)

    def break_off(self) -> None:
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Passing(StreamRequestHandler):
    wbufsize = 0

    def handle(self) -> None:
        with socket.create_connection(self.server.upstream) as further, suppress(OSError):
            self.server.noted(self.connection)
            self.server.noted(further)
            answers = threading.Thread(
                target=_pass_on, args=(further, self.connection), daemon=True)
            answers.start()
            _pass_on(self.connection, further)
            answers.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
