"""Lets a server answer its own pages and local clients alone: no page of another site gets in.

A browser sends what a page asks for to any address, 127.0.0.1 included. Three of its headers tell
who asks: Host (a rebound name is not ours), Origin and Sec-Fetch-Site (another site, or a page on
another port). Who is refused gets 403, a websocket before it is accepted. This is no password:
other users of the machine are kept out by `folio up --password`.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
OWN_SITE = ("same-origin", "none")  # of Sec-Fetch-Site; none: typed, or a bookmark
DEFAULT_PORTS = {"http": 80, "https": 443}
FRAMES = (b"x-frame-options", b"SAMEORIGIN")  # no other site frames a page for clicks
BODY = b'{"detail": "refused: this server answers its own pages and clients alone"}'
POLICY_VIOLATION = 1008  # of a websocket

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


def allowed_hosts() -> tuple[str, ...]:
    """The loopback's names, and those of FOLIO_ALLOWED_HOSTS: of a proxy in front, say."""
    named = os.environ.get("FOLIO_ALLOWED_HOSTS", "").lower().split(",")
    return (*LOOPBACK, *filter(None, map(str.strip, named)))


def refusal(
    method: str, headers: Iterable[tuple[str, str]], allowed: Collection[str]
) -> str | None:
    """Why a request may not be answered; None: it may.

    `allowed` holds names (any port) and name:port pairs. A websocket's method is GET.
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
        return "a page of another site asks"
    return None


def _is_allowed(host: str, allowed: Collection[str]) -> bool:
    return host in allowed or _name_of(host) in allowed


def _name_of(host: str) -> str | None:
    """The name in a Host header, brackets and all; None when the header is malformed."""
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
    """A link that somebody followed to a page of ours: it shows the page, and tells nobody."""
    return (
        method in ("GET", "HEAD")
        and values.get("sec-fetch-mode") == ["navigate"]
        and values.get("sec-fetch-dest", ["document"]) == ["document"]
    )


class Guard:
    """An ASGI app that answers for `app` where `refusal` finds nothing."""

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
    """Answer without asking the app; a websocket is closed before it is accepted."""
    if scope["type"] == "websocket":
        await receive()  # its wish to connect
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
    """`send`, without the headers by which an app lets other sites read or frame its answers."""

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
