"""MLflow's server behind the guard: mlflow server --app-name folio

Its own check of hosts reads `10.*` as text and lets any page of a local port in, so it stays as a
second lock only, told the names that the guard lets in.
"""

from __future__ import annotations

import os
from urllib.parse import unquote

from flows.guard import LOOPBACK, App, Guard, Message, Receive, Send, allowed_hosts, refuse
from flows.passwords import behind_password

ARTIFACTS = "/mlflow-artifacts/artifacts"
WHOLE = b'{"detail": "refused: this would delete the files of all models"}'


class KeepsArtifacts:
    """Refuses a DELETE of the artifacts' root, however it is spelt: it empties the files of all
    models."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "DELETE" and _names_all(scope["path"]):
            return await refuse(scope, receive, send, body=WHOLE)
        await self.app(scope, receive, send)


def _names_all(path: str) -> bool:
    """Whether no part of the path below the artifacts names anything, or one leads back up."""
    _, found, below = path.partition(ARTIFACTS)
    before = None
    while before != below:  # it may be quoted more than once
        before, below = below, unquote(below)
    parts = [part.strip() for part in below.replace("\\", "/").split("/")]
    return bool(found) and (".." in parts or all(part in ("", ".") for part in parts))


def _second_lock() -> None:
    own = [name for name in allowed_hosts() if name not in LOOPBACK]
    names = ["127.0.0.1:*", "localhost:*", "[[]::1]:*", "127.0.0.1", "localhost", *own,
             *(f"{name}:*" for name in own)]
    os.environ.setdefault("MLFLOW_SERVER_ALLOWED_HOSTS", ",".join(names))
    if own:
        os.environ.setdefault("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
                              ",".join(f"{scheme}://{name}" for name in own
                                       for scheme in ("https", "http")))


def create_app() -> App:
    _second_lock()  # read when MLflow's app is imported
    from mlflow.server.fastapi_app import app

    return Guard(behind_password(KeepsArtifacts(app)))
