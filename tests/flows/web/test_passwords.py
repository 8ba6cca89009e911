"""Who is let in by the home's password, and that its file is its owner's alone."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from flows.web import passwords
from flows.web.home_pages import served
from flows.web.passwords import BasicAuth, auth_string, choose, is_let_in, require_choice
from pipelines.errors import FolioError, UsageError
from tests.conftest import PROJECT

AUTH = "folio:a-secret-of-some-length"


async def page(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http", "a websocket came through"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def header(auth: str) -> str:
    return "Basic " + b64encode(auth.encode()).decode()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords.pwd, "getpwall", list)
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)


@pytest.mark.parametrize(
    ("said", "lets_in"),
    [
        (header(AUTH), True),
        (header(AUTH).replace("Basic", "basic"), True),
        (None, False),
        ("", False),
        (header(AUTH + "x"), False),
        (header("folio:"), False),
        (AUTH, False),
        ("Bearer " + AUTH, False),
        ("Basic ä", False),
        ("Basic !!!!", False),
        (header(AUTH).replace("Basic", "Bearer"), False),
    ],
)
def test_only_user_and_password_let_in(said: str | None, lets_in: bool) -> None:
    assert is_let_in(said, AUTH) == lets_in


def test_an_app_behind_it_is_asked_nothing_without_the_password() -> None:
    async def asked(**options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(BasicAuth(page, AUTH))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/health", **options)

    refused = asyncio.run(asked())
    assert refused.status_code == 401 and "Basic" in refused.headers["www-authenticate"]
    assert asyncio.run(asked(auth=("folio", "wrong"))).status_code == 401
    assert asyncio.run(asked(auth=tuple(AUTH.split(":")))).text == "inside"
    twice = [("Authorization", header("a:b")), ("Authorization", header(AUTH))]
    assert asyncio.run(asked(headers=twice)).status_code == 401


def test_a_websocket_without_it_is_closed_before_it_is_accepted() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(BasicAuth(page, AUTH)({"type": "websocket", "headers": []}, receive, send))
    assert [one["type"] for one in sent] == ["websocket.close"]


@pytest.mark.usefixtures("alone")
def test_it_is_made_once_for_its_owner_alone_and_removed_when_asked(tmp_path: Path) -> None:
    choose(tmp_path, None)
    assert auth_string(tmp_path) is None
    choose(tmp_path, True)
    auth, path = auth_string(tmp_path), tmp_path / passwords.FILE
    assert auth and auth.startswith("folio:") and len(auth) > 40
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and list(path.parent.iterdir()) == [path]
    path.chmod(0o644)
    for wanted in (None, True):
        choose(tmp_path, wanted)
        assert auth_string(tmp_path) == auth
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    choose(tmp_path, False)
    assert auth_string(tmp_path) is None and not path.exists()


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("content", [b"", b"folio:", b"folio:\xff\xfe", b"no colon\n", None])
def test_a_file_that_is_no_password_never_means_an_open_door(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / passwords.FILE
    path.parent.mkdir()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(FolioError, match=r"up/password: .*folio up --password"):
        auth_string(tmp_path)


def test_others_on_the_machine_make_it_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_SERVER_API_AUTH_STRING", raising=False)

    def account(name: str, uid: int, shell: str) -> Any:
        return passwords.pwd.struct_passwd((name, "x", uid, uid, "", "/", shell))

    people = [
        account("root", 0, "/bin/bash"),
        account("daemon", 2, "/bin/sh"),
        account("nobody", 65534, "/bin/sh"),
        account("robot", 2000, "/usr/sbin/nologin"),
        account("me", 3000, "/bin/bash"),
    ]
    monkeypatch.setattr(passwords.os, "getuid", lambda: 3000)
    monkeypatch.setattr(passwords.pwd, "getpwall", lambda: people)
    require_choice(tmp_path, None)
    people.append(account("mallory", 3001, "/bin/zsh"))
    with pytest.raises(UsageError, match=r"mallory.*--password, or --no-password"):
        require_choice(tmp_path, None)
    require_choice(tmp_path, False)
    choose(tmp_path, True)
    require_choice(tmp_path, None)


@pytest.mark.usefixtures("alone")
def test_the_pages_of_the_home_ask_for_it(tmp_path: Path) -> None:
    (tmp_path / "dashboard").mkdir()
    (tmp_path / "dashboard" / "index.html").write_text("page")
    choose(tmp_path, True)
    with served(tmp_path, 0) as address:
        assert httpx.get(f"{address}/dashboard/index.html").status_code == 401
        user, _, secret = auth_string(tmp_path).partition(":")
        assert httpx.get(f"{address}/dashboard/index.html", auth=(user, secret)).text == "page"


@pytest.mark.slow
def test_an_address_to_notify_stands_on_no_command_line(tmp_path: Path) -> None:
    """The process that stays behind has it from the environment, which is its owner's alone."""
    hook, handed = "https://hook.example/not-to-be-listed", False
    with socket.socket() as taken:  # so that nothing else is started
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        up = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "flows.cli",
                "up",
                "--detach",
                "--no-password",
                "--notify",
                "-",
                "--prefect-port",
                port,
            ],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            env=os.environ | {"FOLIO_HOME": str(tmp_path / "home")},
        )
        up.stdin.write(f"{hook}\n")
        up.stdin.flush()
        while up.poll() is None:
            for process in psutil.Process(up.pid).children(recursive=True):
                with suppress(psutil.Error):
                    assert hook not in " ".join(process.cmdline())
                    handed |= process.environ().get("FOLIO_NOTIFY") == hook
            time.sleep(0.02)
    assert handed and f"port {port} " in up.stderr.read()
