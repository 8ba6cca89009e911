"""The password of a home's servers: `folio up --password`.

    up/password    "folio:SECRET", mode 0600; while it exists, the servers require it

It is passed on only through the environment, never on a command line.
"""

from __future__ import annotations

import hmac
import os
import pwd
import re
import secrets
import sys
from base64 import b64decode
from pathlib import Path

from flows.web.guard import App, Message, Receive, Send, refuse
from pipelines.errors import FolioError, UsageError
from pipelines.files.home import made
from pipelines.files.whole_files import replacing

USER = "folio"
FILE = "up/password"
MLFLOW_AUTH = "FOLIO_MLFLOW_AUTH_STRING"  # user:password that the MLflow server requires
NEEDED = b'{"detail": "a password is needed; folio up says where it lies"}'
CHALLENGE = 'Basic realm="Folio", charset="UTF-8"'
FIRST_UID = 500 if sys.platform == "darwin" else 1000  # of people's accounts
NOBODY = 65534
AGAIN = "delete it, then: folio up --password (or --no-password)"
CLOSED_SHELLS = ("nologin", "false", "sync")


def auth_string(home: Path) -> str | None:
    """`user:password` of the home's servers, else Prefect's own setting; None if there is none."""
    path = home / FILE
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return os.environ.get("PREFECT_SERVER_API_AUTH_STRING") or None
    except (OSError, ValueError) as error:
        raise FolioError(f"{path}: cannot be read as a password ({error}); {AGAIN}") from error
    if not re.fullmatch(r"[^:\s]+:[!-~]{8,}", text):
        raise FolioError(f"{path}: not a password that folio up generated; {AGAIN}")
    return text


def server_environment(home: Path) -> dict[str, str]:
    """The variable with which Prefect's server requires the password."""
    auth = auth_string(home)
    return {"PREFECT_SERVER_API_AUTH_STRING": auth} if auth else {}


def client_environment(home: Path) -> dict[str, str]:
    """The variable with which Prefect's clients and workers send it."""
    auth = auth_string(home)
    return {"PREFECT_API_AUTH_STRING": auth} if auth else {}


def choose(home: Path, wanted: bool | None) -> None:
    """Create or remove the home's password, or leave it unchanged (None).

    Call this while no server of the home is running. Raises UsageError if nothing was chosen on a
    machine where other people have accounts.
    """
    require_choice(home, wanted)
    path = home / FILE
    if wanted is False:
        path.unlink(missing_ok=True)
    elif path.is_file():
        auth_string(home)
        path.chmod(0o600)
    elif wanted:
        _write(path, f"{USER}:{secrets.token_urlsafe(32)}\n")


def changes(home: Path, wanted: bool | None) -> bool:
    """Whether `choose` would create or remove the password."""
    return wanted is not None and wanted != os.path.lexists(home / FILE)


def require_choice(home: Path, wanted: bool | None) -> None:
    """Raises UsageError if other people have accounts and the user has not chosen."""
    if wanted is None and auth_string(home) is None and (others := other_accounts()):
        raise UsageError(
            "other users of this machine "
            f"({', '.join(others[:3])}{', …' if others[3:] else ''}) can reach the "
            "servers and could run commands as you; give folio up --password, or "
            "--no-password to leave them open"
        )


def other_accounts() -> list[str]:
    """Accounts of people that can log in here, except root and one's own."""
    return sorted(
        {
            one.pw_name
            for one in pwd.getpwall()
            if FIRST_UID <= one.pw_uid != NOBODY
            and one.pw_uid != os.getuid()
            and not one.pw_shell.endswith(CLOSED_SHELLS)
        }
    )


def _write(path: Path, text: str) -> None:
    """Atomic, and never readable by others."""
    made(path.parent)
    with replacing(path) as partial:
        partial.unlink(missing_ok=True)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)


def is_let_in(header: str | None, auth: str) -> bool:
    """Whether an `Authorization` header contains `user:password`; compared in constant time."""
    scheme, _, given = (header or "").partition(" ")
    try:
        said = b64decode(given.strip(), validate=True)
    except ValueError:
        return False
    return hmac.compare_digest(said, auth.encode()) and scheme.lower() == "basic"


class BasicAuth:
    """An ASGI app that requires the password `user:password` for HTTP and WebSockets on every
    path."""

    def __init__(self, app: App, auth: str) -> None:
        self._app, self._auth = app, auth

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._lets_in(scope):
            return await refuse(
                scope, receive, send, 401, NEEDED, [(b"www-authenticate", CHALLENGE.encode())]
            )
        await self._app(scope, receive, send)

    def _lets_in(self, scope: Message) -> bool:
        said = [
            value.decode("latin-1")
            for name, value in scope["headers"]
            if name.lower() == b"authorization"
        ]
        return len(said) == 1 and is_let_in(said[0], self._auth)


def behind_password(app: App) -> App:
    """The app behind the password in FOLIO_MLFLOW_AUTH_STRING, or unchanged if that is not set."""
    auth = os.environ.get(MLFLOW_AUTH)
    return BasicAuth(app, auth) if auth else app
