"""Commands that start, stop and show the services of a home."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.app import app
from flows.cli.options import AsJson, answer, settings, writable
from flows.display import upkeep as display
from flows.server.environment import changed
from pipelines.errors import FolioError, UsageError
from pipelines.files.home import made

if TYPE_CHECKING:
    from flows.services.up import Ports
    from pipelines.store.settings import Settings

DOWN_SECONDS = 60
Port = Annotated[int, typer.Option(min=1, max=65535)]


@app.command()
def up(
    detach: Annotated[
        bool,
        typer.Option("--detach", help="return when everything is ready; stop with: folio down"),
    ] = False,
    prefect_port: Port = 4200,
    mlflow_port: Port = 5000,
    dashboard_port: Port = 8080,
    notify: Annotated[
        str | None,
        typer.Option(
            metavar="URL|-",
            envvar="FOLIO_NOTIFY",
            help="send failures and crashes of runs there: https://… (JSON, or Slack's webhook), "
            "mailtos://… (mail); - reads a line of standard input, where other users of the "
            "machine cannot see it",
        ),
    ] = None,
    password: Annotated[
        bool | None,
        typer.Option(
            "--password/--no-password",
            help="whether the servers require a password, stored in the home's up/password; "
            "default: unchanged",
        ),
    ] = None,
    gpu: Annotated[
        bool,
        typer.Option(
            "--gpu/--no-gpu",
            help="whether to start a worker for the pool gpu; without it, each run trains in its "
            "own process",
        ),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Start the servers, workers, schedules and the dashboard.

    Ctrl-C stops them. Everything listens on 127.0.0.1 only. Active runs stop too and continue at
    the next start.

    \b
    Examples:
      folio up
      folio up --detach --prefect-port 4300
      folio up --password
      folio up --no-gpu
      folio up --notify https://example.org/hook
    """
    from flows.services.up import Ports, keep_up
    from flows.services.up_state import state_of
    from flows.web.passwords import require_choice

    here, ports = settings(), Ports(prefect_port, mlflow_port, dashboard_port)
    if state := state_of(here.home):
        print("already running", file=sys.stderr)
        if state["ready"]:
            _deploy_changes(here)
        return answer(state["addresses"], as_json, display.addresses)
    writable()
    require_choice(here.home, password)
    notify = sys.stdin.readline().strip() if notify == "-" else notify
    if detach:
        return _show(here.home, as_json, _detached(here.home, ports, notify, password, gpu))
    print("starting Prefect, MLflow and the workers …", file=sys.stderr)
    keep_up(here, ports, partial(_show, here.home, as_json), _say, notify, password, gpu)


def _deploy_changes(here: Settings) -> None:
    """What was declared since the services started, and what is still wrong."""
    from flows.doctor.servers import reinstall
    from flows.services.status import status_of

    status = status_of(here)
    before = status["undeployed"]
    if not before:
        return
    reinstall(here, f"{status['addresses']['prefect']}/api")
    left = status_of(here)["undeployed"] or {}
    if done := sorted(before.keys() - left.keys()):
        print(f"deployed: {', '.join(done)}", file=sys.stderr)
    for text in left.values():
        print(f"not deployed: {text}", file=sys.stderr)


def _show(home: Path, as_json: bool, addresses: dict[str, Any]) -> None:
    from flows.web.passwords import FILE

    answer(addresses, as_json, display.addresses)
    if (home / FILE).exists():
        print(f"the pages require the user and password in {home / FILE}", file=sys.stderr)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _detached(
    home: Path, ports: Ports, notify: str | None, password: bool | None, gpu: bool
) -> dict[str, Any]:
    """Starts a separate `folio up` and returns its addresses once it is ready."""
    from flows.services.processes import LOG
    from flows.services.up_state import state_of

    log = home / LOG
    made(log.parent)
    command = [
        sys.executable,
        "-m",
        "flows.cli",
        "up",
        *(word for name, port in vars(ports).items() for word in (f"--{name}-port", str(port))),
        *([] if password is None else ["--password" if password else "--no-password"]),
        *([] if gpu else ["--no-gpu"]),
        *(["--verbose"] if "--verbose" in sys.argv else []),
    ]
    # Not on the command line, which every user of the machine can read.
    handed_on = {"FOLIO_HOME": str(home), "FOLIO_NOTIFY": notify}
    with log.open("ab") as file:
        begin = file.tell()
        process = subprocess.Popen(
            command,
            env=changed(os.environ, handed_on),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    while not ((state := state_of(home)) and state["ready"]):
        if process.poll() is not None:
            raise FolioError(
                f"folio up stopped while starting: {_last_line(log, begin)} (full log: {log})"
            )
        time.sleep(0.2)
    return state["addresses"]


def _last_line(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1].removeprefix("folio: ") if lines else "no message"


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop what `folio up` started; active runs continue later."""
    from flows.services.up_state import state_of

    here = settings()
    state = state_of(here.home)
    if state is None:
        raise UsageError(f"folio up is not running in {here.home}; nothing to stop")
    if state["pid"] is None:
        raise FolioError(
            f"folio up has only just been started, or {here.home}/up/up.json is "
            "unreadable; try again in a moment, or stop its process with: fuser -k -TERM "
            f"{here.home}/up/lock"
        )
    os.kill(state["pid"], signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while state_of(here.home):
        if time.monotonic() > deadline:
            raise FolioError(
                f"process {state['pid']} did not stop within {DOWN_SECONDS} s; check it, "
                f"then stop it with: kill -9 {state['pid']}"
            )
        time.sleep(0.1)
    print("stopped", file=sys.stderr)
    if as_json:
        answer({"stopped": state["pid"]}, as_json, None)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show servers, workers, active runs and upcoming runs.

    \b
    Examples:
      folio status
      folio status --json
    """
    from flows.services.status import status_of

    answer(status_of(settings()), as_json, display.status)
