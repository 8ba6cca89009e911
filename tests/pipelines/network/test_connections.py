"""Servers that drip, lie about lengths, or lead to where nobody was sent: real ones."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from pipelines.declaration.spec import SourceSpec
from pipelines.errors import FolioError, UnreachableError
from pipelines.network.connections import LINK_LOCAL, PRIVATE, PUBLIC, THIS_MACHINE, nearness
from pipelines.source import download, remote_version
from tests.pipelines.http_site import (
    BODY,
    MARK,
    Reply,
    Site,
    resumable,
    send,
    served,
    status,
    whole,
)

QUICK = {"timeout_seconds": 0.2}  # too slow is known after 0.8 s
FAR = "http://93.184.216.34/text.txt"  # reached through a proxy alone: ours
DROP_SECONDS = 0.02
SLOW = r"too slow: .* source\.min_bytes_per_second"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "text.txt.part"


def fetch(url: str, part: Path, **source: Any) -> None:
    download.download(url, part, SourceSpec(url=url, **source), lambda *_: None, (0, 0))


# --- drops ---------------------------------------------------------------------------------------


def dripping(site: Site, drop: bytes, head: Callable[[BaseHTTPRequestHandler], None]) -> Reply:
    """`head`, then `drop` again and again, as long as somebody listens."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        head(handler)
        while not site.closing.wait(DROP_SECONDS):
            try:
                handler.wfile.write(drop)
            except OSError:
                return

    return reply


def begun(**headers: object) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda handler: send(handler, 200, b"", **headers)


def status_line(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")


CHUNKED = {"Content_Length": None, "Transfer_Encoding": "chunked"}
BODIES = {
    "bytes": (BODY[:1], begun(Content_Length=len(BODY), ETag=MARK)),
    "bytes to an unknown end": (BODY[:1], begun(Content_Length=None, ETag=MARK)),
    "chunks": (b"1\r\nx\r\n", begun(**CHUNKED, ETag=MARK)),
    "the size of a chunk": (b"0", begun(**CHUNKED, ETag=MARK)),
}


@pytest.mark.parametrize(("drop", "head"), BODIES.values(), ids=BODIES)
def test_a_download_that_drips_is_given_up_in_one_line(
    site: Site, part: Path, drop: bytes, head: Callable[..., None]
) -> None:
    site.protocol("HTTP/1.1")
    site.replies = [dripping(site, drop, head)]
    started = time.monotonic()
    with pytest.raises(UnreachableError, match=SLOW) as failure:
        fetch(site.url(), part, **QUICK)
    assert time.monotonic() - started < 5 and len(site.asked) == 1
    assert "\n" not in str(failure.value) and site.url() in str(failure.value)


def test_what_dripped_in_is_gone_on_from(site: Site, part: Path) -> None:
    slow = begun(Content_Length=len(BODY), ETag=MARK)

    def in_order(handler: BaseHTTPRequestHandler) -> None:
        slow(handler)
        for byte in BODY:
            if site.closing.wait(DROP_SECONDS):
                return
            try:
                handler.wfile.write(bytes([byte]))
            except OSError:
                return

    site.replies = [in_order, resumable]
    with pytest.raises(UnreachableError, match="partial data is kept"):
        fetch(site.url(), part, **QUICK)
    kept = part.stat().st_size
    assert 0 < kept < 1000
    fetch(site.url(), part)
    assert site.ranges == [None, f"bytes={kept}-"] and part.read_bytes() == BODY


def test_headers_that_drip_are_given_up(site: Site, part: Path) -> None:
    site.replies = [dripping(site, b"X-Drop: 1\r\n", status_line)]
    with pytest.raises(UnreachableError, match=r"no complete response within 0\.4 s"):
        fetch(site.url(), part, **QUICK)


def test_a_question_whose_answer_drips_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_version, "ASK_SECONDS", 0.2)
    site.replies = [dripping(site, b"X-Drop: 1\r\n", status_line)]
    with pytest.raises(UnreachableError, match="no complete response"):
        remote_version.versions(SourceSpec(url=site.url()), None, False)


def test_a_line_that_is_slow_but_good_enough_is_not(site: Site, part: Path) -> None:
    def steady(handler: BaseHTTPRequestHandler) -> None:
        begun(Content_Length=40 * 100)(handler)
        for _ in range(40):
            handler.wfile.write(BODY[:100])
            time.sleep(0.03)

    site.replies = [steady]
    fetch(site.url(), part, **QUICK, min_bytes_per_second=500)
    assert part.stat().st_size == 4000


# --- lengths -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", ["9" * 5000, "9" * 19, "-5", "many", "1_000", "٣", "0x10", ""])
def test_a_length_that_is_none_is_one_line(site: Site, part: Path, length: str) -> None:
    site.replies = [
        lambda handler: send(
            handler,
            200,
            BODY,
            Content_Length=length.encode("utf-8").decode("latin-1"),
            Last_Modified="Mon, 05 Jan 2026 07:28:00 GMT",
        )
    ]
    with pytest.raises(FolioError, match="answered with a Content-Length of") as failure:
        fetch(site.url(), part)
    assert len(str(failure.value)) < 300
    with pytest.raises(FolioError, match="answered with a Content-Length of"):
        remote_version.versions(SourceSpec(url=site.url()), None, False)


def test_two_lengths_are_one_line(site: Site, part: Path) -> None:
    def both(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5")
        handler.send_header("Content-Length", "7")
        handler.end_headers()

    site.replies = [both]
    with pytest.raises(FolioError, match=f"{site.url()}: cannot be fetched"):
        fetch(site.url(), part)


def test_a_rest_of_impossible_size_is_thrown_away(site: Site, part: Path) -> None:
    extent = f"bytes 150000-{'9' * 5000}/{'9' * 5000}"
    site.replies = [
        lambda h: send(h, 200, BODY[:150_000], Content_Length=len(BODY), ETag=MARK),
        lambda h: send(h, 206, BODY, Content_Range=extent),
        whole,
    ]
    fetch(site.url(), part)
    assert part.read_bytes() == BODY


# --- where redirects lead ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("93.184.216.34", PUBLIC),
        ("2606:4700::6810:85e5", PUBLIC),
        ("::ffff:93.184.216.34", PUBLIC),
        ("64:ff9b::5db8:d822", PUBLIC),
        ("2002:5db8:d822::1", PUBLIC),
        ("10.0.0.1", PRIVATE),
        ("172.16.9.9", PRIVATE),
        ("192.168.1.1", PRIVATE),
        ("100.64.0.1", PRIVATE),
        ("fd00::1", PRIVATE),
        ("::ffff:10.0.0.1", PRIVATE),
        ("169.254.169.254", LINK_LOCAL),
        ("fe80::1%eth0", LINK_LOCAL),
        ("::ffff:169.254.169.254", LINK_LOCAL),
        ("127.0.0.1", THIS_MACHINE),
        ("127.9.9.9", THIS_MACHINE),
        ("::1", THIS_MACHINE),
        ("0.0.0.0", THIS_MACHINE),
        ("::", THIS_MACHINE),
        ("::ffff:127.0.0.1", THIS_MACHINE),
        ("64:ff9b::7f00:1", THIS_MACHINE),
        ("2002:7f00:1::", THIS_MACHINE),
        ("224.0.0.1", THIS_MACHINE),
        ("ff02::1", THIS_MACHINE),
        ("255.255.255.255", THIS_MACHINE),
        ("240.0.0.1", THIS_MACHINE),
    ],
)
def test_how_near_an_address_is(address: str, near: int) -> None:
    assert nearness(address) == near


@pytest.fixture
def proxied(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site is a proxy: it answers for every host."""
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, site.address)
    return site


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "localhost",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.0.1",
        "[fe80::1]",
        "[fd00::1]",
        "224.0.0.1",
    ],
)
def test_a_public_address_may_not_lead_home_through_a_proxy(
    proxied: Site, part: Path, host: str
) -> None:
    proxied.replies = [status(302, Location=f"http://ann:hush@{host}/admin?t=hush"), whole]
    with pytest.raises(
        FolioError, match=f"{FAR}: redirects to http://.*/admin.*of this machine or its network"
    ) as failure:
        fetch(FAR, part)
    assert [path for path, _ in proxied.asked] == [FAR]
    assert "hush" not in str(failure.value)


def test_a_public_address_may_lead_to_another_through_a_proxy(proxied: Site, part: Path) -> None:
    proxied.replies = [status(302, Location="http://93.184.216.35/text.txt"), whole]
    fetch(FAR, part)
    assert part.read_bytes() == BODY


def test_a_public_address_may_not_lead_past_the_proxy(
    proxied: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    proxied.replies = [status(302, Location=proxied.url("secret")), whole]
    with pytest.raises(FolioError, match="of this machine"):
        fetch(FAR, part)
    assert [path for path, _ in proxied.asked] == [FAR]


def test_asking_follows_no_such_redirect_either(proxied: Site) -> None:
    proxied.replies = [status(302, Location="http://127.0.0.1/"), whole]
    with pytest.raises(FolioError, match="of this machine"):
        remote_version.versions(SourceSpec(url=FAR), None, False)
    assert len(proxied.asked) == 1


@pytest.fixture
def near() -> Iterator[Site]:
    """A site at an address of this machine that is not its loopback."""
    own = socket.gethostbyname(socket.gethostname())
    if nearness(own) == THIS_MACHINE:
        pytest.skip("this machine has no address but its loopback")
    yield from served(own)


def test_who_was_connected_to_counts_not_what_the_name_said_before(
    near: Site, site: Site, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name leads to the site, and when it is asked again, to the loopback."""
    told = [near.address.rpartition("/")[2].partition(":")[0], "127.0.0.1"]
    look_up = socket.getaddrinfo

    def rebound(host: Any, *others: Any, **more: Any) -> Any:
        return look_up(told.pop(0) if host == "rebound.example" else host, *others, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebound)
    port = site.address.rpartition(":")[2]
    near.replies = [status(302, Location=f"http://rebound.example:{port}/secret")]
    with pytest.raises(FolioError, match="of this machine or its network"):
        fetch(
            near.url().replace(
                near.address.rpartition("/")[2].partition(":")[0], "rebound.example"
            ),
            part,
        )
    assert len(near.asked) == 1 and told == []
    assert site.asked == []  # connected to, and told nothing


def test_a_redirect_with_an_endless_body_is_followed_at_once(site: Site, part: Path) -> None:
    site.replies = [
        dripping(
            site,
            b"x" * 1000,
            lambda handler: send(handler, 302, b"", Location="/elsewhere", Content_Length=10**12),
        ),
        whole,
    ]
    threading.Timer(5, site.closing.set).start()
    started = time.monotonic()
    fetch(site.url(), part)
    assert part.read_bytes() == BODY and time.monotonic() - started < 4


def test_names_in_headers_name_nothing(site: Site, tmp_path: Path) -> None:
    site.replies = [
        lambda handler: send(
            handler, 200, BODY, Content_Disposition='attachment; filename="../../../x"'
        )
    ]
    fetch(
        site.url(),
        tmp_path / "a" / "b" / "text.txt.part".replace("a/b", "")
        if (tmp_path / "a" / "b").mkdir(parents=True) is None
        else tmp_path,
    )
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "text.txt.part",
        "text.txt.part.json",
    ]
