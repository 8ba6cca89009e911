"""Lets a server answer only its own pages and local clients, not pages of other sites.

A browser sends a page's requests to any address, including 127.0.0.1. Three headers show their
origin: Host (a rebound name is not ours), Origin and Sec-Fetch-Site (another site, or a page on
another port). Rejected requests get 403; a WebSocket is rejected before it is accepted. This is not
a password: `folio up --password` keeps out other users of the machine.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
OWN_SITE = ("same-origin", "none")  # Sec-Fetch-Site; none: typed, or a bookmark
DEFAULT_PORTS = {"http": 80, "https": 443}
FRAMES = (b"x-frame-options", b"SAMEORIGIN")  # so that no other site can put a page into a frame
BODY = b'{"detail": "refused: this server answers its own pages and clients alone"}'
POLICY_VIOLATION = 1008  # of a WebSocket

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def allowed_hosts() -> tuple[str, ...]:
    """The loopback names, and those in FOLIO_ALLOWED_HOSTS, for example of a proxy."""
    named = os.environ.get("FOLIO_ALLOWED_HOSTS", "").lower().split(",")
    return (*LOOPBACK, *filter(None, map(str.strip, named)))


def refusal(
    method: str, headers: Iterable[tuple[str, str]], allowed: Collection[str]
) -> str | None:
    """Why a request must be rejected; None if it is allowed.

    `allowed` holds names (any port) and name:port pairs. The method of a WebSocket is GET.
    """
    values: dict[str, list[str]] = {}
    for name, value in headers:
        values.setdefault(name.lower(), []).append(value.strip())
    hosts = values.get("host", [])
    if len(hosts) != 1 or not _is_allowed(hosts[0].lower(), allowed):
        return "the Host is not a name of this server"
    if any(not _same(origin, hosts[0].lower()) for origin in values.get("origin", [])):
        return "the Origin is another site"
    sites = values.get("sec-fetch-site", [])
    if any(site not in OWN_SITE for site in sites) and not _is_navigation(method, values):
        return "a page of another site sent it"
    return None


def _is_allowed(host: str, allowed: Collection[str]) -> bool:
    return host in allowed or _name_of(host) in allowed


def _name_of(host: str) -> str | None:
    """The name in a Host header, including brackets; None if the header is malformed."""
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        return host
    return name if port.isascii() and port.isdigit() else None


def _same(origin: str, host: str) -> bool:
    """Whether an Origin is the address of this Host. `null` is not."""
    try:
        parts = urlsplit(origin.lower())
        port = DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return False
    bare = not (parts.path or parts.query or parts.fragment)
    return bare and parts.netloc.removesuffix(f":{port}") == host.removesuffix(f":{port}")


def _is_navigation(method: str, values: dict[str, list[str]]) -> bool:
    """A link from elsewhere to one of our pages: it shows the page but reveals nothing to the other
    site."""
    return (
        method in ("GET", "HEAD")
        and values.get("sec-fetch-mode") == ["navigate"]
        and values.get("sec-fetch-dest", ["document"]) == ["document"]
    )


class Guard:
    """An ASGI app that rejects what `refusal` finds, and passes everything else to `app`."""

    def __init__(self, app: App, allowed: Collection[str] | None = None) -> None:
        self.app = app
        self.allowed = allowed_hosts() if allowed is None else allowed

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        if refusal(scope.get("method", "GET"), headers, self.allowed):
            return await refuse(scope, receive, send)
        await self.app(scope, receive, _kept_at_home(send))


async def refuse(
    scope: Message,
    receive: Receive,
    send: Send,
    status: int = 403,
    body: bytes = BODY,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Respond without calling the app; a WebSocket is closed before it is accepted."""
    if scope["type"] == "websocket":
        await receive()  # the connection request
        return await send({"type": "websocket.close", "code": POLICY_VIOLATION})
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _kept_at_home(send: Send) -> Send:
    """`send`, without the headers by which an app lets other sites read or frame its responses."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value)
                for name, value in message.get("headers", ())
                if not name.lower().startswith(b"access-control-") and name.lower() != FRAMES[0]
            ]
            message = {**message, "headers": [*kept, FRAMES]}
        await send(message)

    return sent
