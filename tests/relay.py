"""A server that can go away and come back: a relay on 127.0.0.1 to one that stays."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer

Alter = Callable[[bytes], bytes]


class Relay:
    """Passes on to `upstream`, (host, port), what reaches `port`, until it is `away`; and back what
    that answers, as `alter` has it."""

    def __init__(self, upstream: tuple[str, int], alter: Alter | None = None) -> None:
        self._upstream, self._alter = upstream, alter or (lambda data: data)
        self._server: _Server | None = None
        self.port = 0
        self.back()

    def back(self) -> None:
        self._server = _Server(("127.0.0.1", self.port), _Passing)
        self._server.upstream, self.port = self._upstream, self._server.server_address[1]
        self._server.alter = self._alter
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def away(self) -> None:
        """Refuse connections and break those that there are."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.break_off()
            self._server = None


@contextmanager
def relayed(upstream: tuple[str, int], alter: Alter | None = None) -> Iterator[Relay]:
    relay = Relay(upstream, alter)
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
                target=_pass_on, args=(further, self.connection, self.server.alter), daemon=True
            )
            answers.start()
            _pass_on(self.connection, further)
            answers.join()


def _pass_on(
    source: socket.socket, target: socket.socket, alter: Alter = lambda data: data
) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(alter(data))
        target.shutdown(socket.SHUT_WR)
