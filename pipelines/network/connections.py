"""HTTP requests with time limits, which do not get closer to this machine than their address.

A socket's timeout applies to each read, so a slow server could block forever: a `Watch` prevents
that. A name may resolve differently each time: the check uses the address of the actual connection.
Through a proxy, which resolves names itself, it uses what the name resolves to here.

urllib3's `_new_conn`, which is overridden here, is not public. Tested with urllib3 2.8.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from pipelines.errors import FolioError, UnreachableError
from pipelines.network.addresses import shown

PUBLIC, PRIVATE, LINK_LOCAL, THIS_MACHINE = range(4)  # in increasing proximity
TRANSLATED = IPv6Network("64:ff9b::/96")  # IPv4 addresses in IPv6-only networks


def nearness(address: str) -> int:
    """How close to this machine an IP address is."""
    ip = _meant(ip_address(address.partition("%")[0]))
    if ip.is_loopback or ip.is_unspecified or ip.is_multicast or ip.is_reserved:
        return THIS_MACHINE
    if ip.is_link_local:
        return LINK_LOCAL
    return PUBLIC if ip.is_global else PRIVATE


def _meant(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address represents, if it does."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip in TRANSLATED:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else ip)


class Reach:
    """Rejects redirect targets that are closer to this machine than `url` itself."""

    def __init__(self, url: str) -> None:
        self._url, self._target = url, url
        self._declared: int | None = None

    def visit(self, target: str, proxied: bool) -> None:
        """The next request goes to `target`."""
        self._target = target
        if proxied:
            self._judge(max(map(nearness, _looked_up(target)), default=PUBLIC))

    def met(self, peer: socket.socket) -> None:
        """Check the peer of a direct connection (not a proxy's) before anything is sent."""
        self._judge(nearness(peer.getpeername()[0]))

    def _judge(self, near: int) -> None:
        if self._declared is None:
            self._declared = near
        if near > self._declared:
            raise FolioError(
                f"{shown(self._url)}: redirects to {shown(self._target)}, which is an "
                "address of this machine or its network; if this is intended, declare "
                "that address"
            )


def _looked_up(url: str) -> set[str]:
    """The IP addresses of a host; none if only the proxy knows it."""
    with suppress(OSError, UnicodeError):
        return {str(found[4][0]) for found in socket.getaddrinfo(urlsplit(url).hostname, None)}
    return set()


class Watch:
    """While inside, connections are closed if the response has not started within `seconds`, or if
    later fewer than `least` bytes per second `arrived` in that time.

    It then raises UnreachableError instead of the resulting error.
    """

    def __init__(self, where: str, seconds: float, least: float = 0) -> None:
        self._where, self._seconds, self._least = where, seconds, least
        self._bytes: int | None = None  # None: not started
        self._problem: str | None = None
        self._sockets: list[socket.socket] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def arrived(self, count: int) -> None:
        """This many more bytes of the body; 0 when it starts."""
        self._bytes = (self._bytes or 0) + count

    def joined(self, connection: socket.socket) -> None:
        """Add a connection to close. TLS takes over the socket, so a copy is kept."""
        self._sockets.append(connection.dup())
        if self._problem:
            self._end()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        for connection in self._sockets:
            connection.close()
        if self._problem and (error is None or isinstance(error, Exception)):
            raise UnreachableError(f"{self._where}: {self._problem}") from error

    def _look(self) -> None:
        before: int | None = None
        while not self._over.wait(self._seconds):
            now = self._bytes
            if now is None:
                self._problem = f"no complete response within {self._seconds:g} s"
            elif before is not None and now - before < self._least * self._seconds:
                self._problem = (
                    f"too slow: {now - before:,} bytes in {self._seconds:g} s, and "
                    f"source.min_bytes_per_second is {self._least:g}; partial data is "
                    "kept, and the next run continues from it"
                )
            if self._problem:
                return self._end()
            before = now

    def _end(self) -> None:
        for connection in self._sockets:
            with suppress(OSError):  # already closed
                connection.shutdown(socket.SHUT_RDWR)


def send(
    method: str,
    url: str,
    watch: Watch,
    *,
    headers: Mapping[str, str],
    timeout: float | tuple[float, float],
    check: Callable[..., None],
) -> Response:
    """The response, its body unread; `check` is called with it and with each redirect.

    The environment and ~/.netrc are used as in requests: proxies, certificates, passwords. Raises
    what requests raises, and FolioError if a redirect leads too close.
    """
    adapter = _Adapter(Reach(url), watch)
    with Session() as session:
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        return session.request(
            method,
            url,
            headers=dict(headers),
            timeout=timeout,
            stream=True,
            hooks={"response": check},
        )


class _Adapter(HTTPAdapter):
    """Creates connections that are watched, and whose peers are checked before anything is sent."""

    def __init__(self, reach: Reach, watch: Watch) -> None:
        self._reach = reach
        self._pools = _pools(reach, watch)
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if not proxy.lower().startswith("socks"):  # those create their own connections
            manager.pool_classes_by_scheme = self._pools
        return manager

    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        address = request.url or ""
        proxy = select_proxy(address, kwargs.get("proxies"))
        self._reach.visit(address, bool(proxy))
        return super().send(request, *args, **kwargs)


def _pools(reach: Reach, watch: Watch) -> dict[str, type[HTTPConnectionPool]]:
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            try:
                watch.joined(made)
                if self.proxy is None:
                    reach.met(made)
            except BaseException:
                made.close()
                raise
            return made

    class Secure(Plain, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}
