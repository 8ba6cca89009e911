"""A PostgreSQL of one's own for a test, as Debian installs it: on 127.0.0.1, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROLE = "folio"
UNPRIVILEGED = ("postgres", "nobody")  # the server refuses to run as root


@dataclass(frozen=True)
class Postgres:
    """A running server, which asks for no password."""

    port: int

    def url(self, driver: str, database: str) -> str:
        return f"postgresql+{driver}://{ROLE}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> None:
        self.rows("postgres", f"create database {database}", fetch=False)

    def rows(self, database: str, query: str, fetch: bool = True) -> list[tuple[Any, ...]]:
        import psycopg2

        with closing(
            psycopg2.connect(host="127.0.0.1", port=self.port, user=ROLE, dbname=database)
        ) as connection:
            connection.autocommit = True  # no database is created inside a transaction
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall() if fetch else []


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new server, as long as the block lasts. Skips the test where none is installed."""
    programs = _programs()
    port, user = free_port(), _user()
    with tempfile.TemporaryDirectory(prefix="folio-postgres-") as folder:
        if user is not None:
            shutil.chown(folder, user)
        data = Path(folder) / "data"

        def do(*command: str | Path) -> None:
            subprocess.run(
                command,
                cwd=folder,
                user=user,
                extra_groups=[] if user else None,
                check=True,
                stdout=subprocess.DEVNULL,
            )

        do(
            programs / "initdb",
            "-D",
            data,
            "-U",
            ROLE,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        do(programs / "pg_ctl", "start", "-D", data, "-w", "-o", options, "-l", data / "log")
        try:
            yield Postgres(port)
        finally:
            do(programs / "pg_ctl", "stop", "-D", data, "-w", "-m", "immediate")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _programs() -> Path:
    """The folder of pg_ctl and initdb; Debian keeps both off the PATH, one folder a version."""
    on_path = shutil.which("pg_ctl")
    found = [Path(on_path).resolve()] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), reverse=True)
    complete = [path.parent for path in found if (path.parent / "initdb").is_file()]
    if not complete:
        pytest.skip(
            "PostgreSQL's server is not installed (no pg_ctl and initdb; on Debian: "
            "apt-get install postgresql)"
        )
    return complete[0]


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in UNPRIVILEGED if name in known)
