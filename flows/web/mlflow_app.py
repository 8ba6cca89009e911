"""MLflow's server behind the guard: mlflow server --app-name folio

MLflow's own host check reads `10.*` as text and accepts any page on a local port. It stays as a
second line of defence and gets the names that the guard allows.
"""

from __future__ import annotations

import os
from urllib.parse import unquote

from flows.web.guard import LOOPBACK, App, Guard, Message, Receive, Send, allowed_hosts, refuse
from flows.web.passwords import behind_password
from pipelines.files.names import unsafe

ARTIFACTS = "/mlflow-artifacts/artifacts"
DEPTH = 3  # EXPERIMENT/RUN/artifacts, EXPERIMENT/models/MODEL
ASSISTANT = "/mlflow/assistant"
NONE_HERE = b'{"detail": "refused: it would run commands on this machine"}'
WHOLE = b'{"detail": "refused: this would delete the files of more than one model"}'


class Restricted:
    """MLflow's app without features that are not needed here but are useful to an attacker.

    Disables its assistant, which runs commands, and rejects a DELETE of more than one run's or
    model's files: for `.`, MLflow would delete all experiments, and it treats `;`, `?`, `#`,
    `file:` and control characters the same way.
    """

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and ASSISTANT in _unquoted(scope["path"]).lower():
            return await refuse(scope, receive, send, body=NONE_HERE)
        if (
            scope["type"] == "http"
            and scope["method"].upper() == "DELETE"  # Flask accepts `delete`
            and _names_more_than_one(scope["path"])
        ):
            return await refuse(scope, receive, send, body=WHOLE)
        await self.app(scope, receive, send)


def _names_more_than_one(path: str) -> bool:
    """Whether a path below the artifacts is anything but EXPERIMENT/RUN/FOLDER, or deeper."""
    _, found, below = _unquoted(path).partition(ARTIFACTS)
    below = below.removeprefix("/").removesuffix("/")
    return bool(found) and (
        unsafe(below) is not None or bool(set(";?#:") & set(below)) or below.count("/") < DEPTH - 1
    )


def _unquoted(path: str) -> str:
    """The path may be quoted more than once."""
    while (plain := unquote(path)) != path:
        path = plain
    return path


def _second_lock() -> None:
    own = [name for name in allowed_hosts() if name not in LOOPBACK]
    names = [
        "127.0.0.1:*",
        "localhost:*",
        "[[]::1]:*",
        "127.0.0.1",
        "localhost",
        *own,
        *(f"{name}:*" for name in own),
    ]
    os.environ.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", ",".join(names))
    if own:
        os.environ.setdefault(
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
            ",".join(f"{scheme}://{name}" for name in own for scheme in ("https", "http")),
        )


def create_app() -> App:
    _second_lock()  # read when MLflow's app is imported
    from mlflow.server.fastapi_app import app

    return Guard(behind_password(Restricted(app)))
