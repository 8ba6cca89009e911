"""The guard as a plain ASGI app: a table of who is let in."""

from __future__ import annotations

import ast
import asyncio
import http.client
from pathlib import Path
from typing import Any

import pytest

from flows.web import prefect_app
from flows.web.guard import LOOPBACK, Guard, Message, Receive, Send, allowed_hosts
from flows.web.home_pages import served
from flows.web.mlflow_app import Restricted

HERE = "127.0.0.1:4200"
PAGE = {"host": HERE, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


async def open_house(scope: Message, receive: Receive, send: Send) -> None:
    """Lets everybody in and read, as Prefect does."""
    if scope["type"] == "websocket":
        await receive()
        return await send({"type": "websocket.accept"})
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"access-control-allow-origin", b"*"), (b"content-type", b"a/b")],
        }
    )
    await send({"type": "http.response.body", "body": b"secret"})


def asked(
    app: Any, method: str, *headers: tuple[str, str], path: str = "/", kind: str = "http"
) -> list[Message]:
    """All that the app sends in answer to one request."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect" if kind == "websocket" else "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "path": path,
        "method": method,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    if kind == "websocket":
        del scope["method"]
    asyncio.run(app(scope, receive, send))
    return sent


def lets_in(method: str, *headers: tuple[str, str], allowed: tuple[str, ...] = LOOPBACK) -> bool:
    answer = asked(Guard(open_house, allowed), method, *headers)
    assert answer[0]["status"] in (200, 403)
    assert (b"secret" in answer[1]["body"]) == (answer[0]["status"] == 200)
    return answer[0]["status"] == 200


@pytest.mark.parametrize(
    "host",
    [HERE, "localhost:4200", "LOCALHOST:4200", "[::1]:4200", "127.0.0.1", "localhost", "[::1]"],
)
def test_clients_of_this_machine_are_let_in(host: str) -> None:
    assert lets_in("POST", ("host", host))
    assert lets_in("POST", ("host", host), ("origin", f"http://{host}"))
    assert lets_in("DELETE", ("host", host), ("sec-fetch-site", "same-origin"))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:4200",
        "127.0.0.1.evil.example",
        "10.evil.example",
        "",
        "localhost.evil.example:4200",
        "127.0.0.1:4200:4200",
        "127.0.0.1@evil.example",
        "0.0.0.0:4200",
        "[::1].evil.example",
        "127.0.0.1:x",
        "::1",
        "127.0.0.1:",
        "localhost.:4200",
        "127.0.0.1, evil",
        "[::ffff:127.0.0.1]:4200",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_name_is_refused(host: str, method: str) -> None:
    assert not lets_in(method, ("host", host))


def test_one_host_and_no_more() -> None:
    assert not lets_in("GET")
    assert not lets_in("GET", ("host", HERE), ("host", HERE))
    assert not lets_in("GET", ("host", HERE), ("host", "evil.example"))


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1",
        "http://127.0.0.1:9999",
        "http://localhost:4200",
        "http://127.0.0.1:4200.evil.example",
        "file://",
        "http://[::1",
        "http://127.0.0.1:4200/x",
        "ftp://127.0.0.1:4200",
        "chrome-extension://127.0.0.1:4200",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE", "PUT", "PATCH", "HEAD"])
def test_another_origin_is_refused_whatever_it_asks(origin: str, method: str) -> None:
    assert not lets_in(method, ("host", HERE), ("origin", origin))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "of some new kind"])
def test_pages_of_other_sites_may_follow_a_link_and_do_nothing_else(site: str) -> None:
    page = [*PAGE.items(), ("sec-fetch-site", site)]
    assert lets_in("GET", *page) and lets_in("HEAD", *page)
    assert not lets_in("POST", *page)  # a form
    assert not lets_in("GET", ("host", HERE), ("sec-fetch-site", site), ("sec-fetch-mode", "cors"))
    for frame in ("iframe", "frame", "object", "image"):
        framed = PAGE | {"sec-fetch-dest": frame, "sec-fetch-site": site}
        assert not lets_in("GET", *framed.items())


def test_a_proxy_in_front_is_let_in_by_the_names_that_are_declared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FOLIO_ALLOWED_HOSTS", "Folio.example.org, other.example:8443,")
    allowed = allowed_hosts()
    for host in ("folio.example.org", "folio.example.org:443", "other.example:8443"):
        assert lets_in("POST", ("host", host), ("origin", f"https://{host}"), allowed=allowed)
    assert lets_in(
        "POST",
        ("host", "folio.example.org"),
        ("origin", "https://folio.example.org:443"),
        allowed=allowed,
    )
    for host in ("other.example", "other.example:1", "x.folio.example.org", "evil.example"):
        assert not lets_in("POST", ("host", host), allowed=allowed)


def test_answers_open_no_door_to_others() -> None:
    start = asked(Guard(open_house), "GET", ("host", HERE))[0]
    assert dict(start["headers"]) == {b"content-type": b"a/b", b"x-frame-options": b"SAMEORIGIN"}


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ([("host", HERE)], "websocket.accept"),
        ([("host", HERE), ("origin", f"http://{HERE}")], "websocket.accept"),
        ([("host", HERE), ("origin", "http://127.0.0.1:9999")], "websocket.close"),
        ([("host", HERE), ("origin", "null")], "websocket.close"),
        (
            [("host", "evil.example:4200"), ("origin", "http://evil.example:4200")],
            "websocket.close",
        ),
        ([("host", HERE), ("sec-fetch-site", "cross-site")], "websocket.close"),
    ],
)
def test_websockets_of_others_are_closed_before_they_are_accepted(
    headers: list[tuple[str, str]], answer: str
) -> None:
    assert [one["type"] for one in asked(Guard(open_house), "", *headers, kind="websocket")] == [
        answer
    ]


@pytest.mark.parametrize(
    "below",
    [
        "",
        "/",
        "/.",
        "//",
        "/./.",
        "/%2e",
        "/%252e",
        "/ ",
        "/./",
        "/x/..",
        "/%2e%2e/x",
        "/.\\.",
        "/;",
        "/?",
        "/#",
        "/%2523",
        "/.;",
        "/./;",
        "/\x00",
        "/\x01",
        "/file:",
        "/1/b/c;",
        "/1/b/\tc",
        "/file:///1/b/c",
        "/1",
        "/1/models",
        "/1/models/",
        "/1//models",
    ],
)
@pytest.mark.parametrize("api", ["/api/2.0", "/ajax-api/2.0", "/prefix/api/2.0"])
@pytest.mark.parametrize("method", ["DELETE", "delete"])
def test_nobody_deletes_the_files_of_all_models(below: str, api: str, method: str) -> None:
    path = f"{api}/mlflow-artifacts/artifacts{below}"
    assert asked(Restricted(open_house), method, path=path)[0]["status"] == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1/models/m-1/artifacts"),
        ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1/0a1b/artifacts/"),
        ("DELETE", "/api/2.0/mlflow-artifacts/artifacts/1/0a1b/artifacts/a plot.png"),
        ("GET", "/api/2.0/mlflow-artifacts/artifacts/."),
        ("DELETE", "/api/2.0/mlflow/runs"),
    ],
)
def test_the_files_of_one_model_may_go(method: str, path: str) -> None:
    assert asked(Restricted(open_house), method, path=path)[0]["status"] == 200


def keywords(module: Path, called: str, inside: str) -> set[str]:
    """The keywords that a function of a module gives to another one."""
    (function,) = [
        node
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == inside
    ]
    calls = [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == called
    ]
    assert calls, f"{module}: {inside} does not call {called}"
    return {word.arg for word in calls[0].keywords}


@pytest.mark.slow  # imports Prefect
def test_the_server_is_given_all_that_prefect_gives_its_own() -> None:
    import prefect

    theirs = Path(prefect.__file__).parent / "cli" / "_server_utils.py"
    ours = Path(prefect_app.__file__)
    assert keywords(theirs, "create_app", "_run_in_foreground") == {"final", "webserver_only"}
    assert keywords(theirs, "uvicorn.run", "_run_in_foreground") - {"app", "app_dir"} <= keywords(
        ours, "uvicorn.run", "main"
    )


@pytest.mark.parametrize(
    "path",
    [
        "/ajax-api/3.0/mlflow/assistant/message",
        "/x/ajax-api/3.0/mlflow/Assistant/config",
        "/ajax-api/3.0/mlflow/%61ssistant",
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_no_assistant_runs_commands(path: str, kind: str) -> None:
    refused = asked(Restricted(open_house), "POST", path=path, kind=kind)[0]
    assert refused.get("status") == 403 or refused["type"] == "websocket.close"


def test_the_dashboard_answers_odd_addresses_and_other_sites(tmp_path: Path) -> None:
    (tmp_path / "dashboard").mkdir()
    (tmp_path / "dashboard" / "index.html").write_text("<p>the page")
    with served(tmp_path, 0) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)

        def status(path: str, **headers: str) -> int:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            answer.read()
            return answer.status

        page = "/dashboard/index.html"
        assert status(page) == 200
        odd = ("%00", "%0a", "%1b", "%ff", "%", "%e2%80%ae", "a" * 5000, "/../index.html%00")
        assert [status(page + end) for end in odd] == [404] * len(odd)
        assert status("HTTP://[x/") == status("HTTP://[x" + page) == 404  # http.client reads http:
        assert status("/%00") == status("/dashboard/%2e%2e/%00") == 404
        assert status(page, Host="evil.example") == status(page, Origin="null") == 403
        assert status(page, **{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}) == 403
        assert status(page) == 200


def test_reports_are_served_and_the_rest_of_the_home_is_not(tmp_path: Path) -> None:
    """Those that pages link to; those of earlier versions as well."""
    folders = [f"store/{stage}/{'0' * 64}" for stage in ("report", "release", "metrics", "model")]
    for folder in (*folders, "runs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "report.html").write_text("<p>the report")
    with served(tmp_path, 0) as address:
        connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
        found = []
        for folder in (*folders, "runs"):
            connection.request("GET", f"/{folder}/report.html")
            answer = connection.getresponse()
            found.append((answer.status, answer.read() == b"<p>the report"))
    assert found == [(200, True)] * 3 + [(404, False)] * 2
