"""Has the machine refuse something in many ways, and prints how each is explained, as JSON.

    python -m tests.pipelines.refusals memory|files
    unshare --map-root-user --mount python -m tests.pipelines.refusals disk|closed FOLDER

The disk is a small tmpfs, mounted at FOLDER for this process alone.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from pipelines.errors import FolioError
from pipelines.files.home import users_files
from pipelines.files.machine import refusal_of

BIG = 1 << 20
Trial = Callable[[], Any]


def disk(folder: str) -> dict[str, Trial]:
    import h5py
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from sqlalchemy import create_engine, text

    engine = create_engine(f"sqlite:///{folder}/alchemy.db")
    with engine.begin() as connection:
        connection.execute(text("create table t (x)"))
    plain = sqlite3.connect(f"{folder}/plain.db")
    plain.execute("create table t (x)")
    source = Path(tempfile.mkdtemp(), "source.txt")
    source.write_bytes(bytes(BIG))
    noise = np.random.default_rng(1).random(BIG)

    def alchemy() -> None:
        with engine.begin() as connection:
            connection.execute(text("insert into t values (zeroblob(1000000))"))

    def wrapped() -> None:
        try:
            shutil.copyfile(source, f"{folder}/copy")
        except OSError as error:
            raise FolioError("the sentence of a stage") from error

    def asked_for() -> None:
        with users_files(f"{folder}/picture.svg"), open(f"{folder}/picture.svg", "wb") as file:
            file.write(bytes(BIG))

    def hdf5() -> None:
        with h5py.File(f"{folder}/weights.h5", "w") as file:
            file["x"] = noise

    def without_a_path() -> None:
        with open(f"{folder}/written", "wb") as file:
            file.write(bytes(BIG))

    return {
        "write": without_a_path,
        "copy": lambda: shutil.copyfile(source, f"{folder}/copy"),
        "wrapped": wrapped,
        "hdf5": hdf5,
        "sqlite": lambda: plain.execute("insert into t values (zeroblob(1000000))"),
        "sqlalchemy": alchemy,
        "parquet": lambda: pq.write_table(pa.table({"x": noise}), f"{folder}/x.parquet"),
        "asked for": asked_for,
        "temporary": lambda: tempfile.NamedTemporaryFile(dir=folder).write(bytes(BIG)),
    }


def closed(folder: str) -> dict[str, Trial]:
    def database() -> None:
        with sqlite3.connect(f"{folder}/there.db") as connection:
            connection.execute("insert into t values (1)")

    return {
        "write": lambda: Path(folder, "new").write_text("x"),
        "folder": lambda: Path(folder, "new").mkdir(),
        "database": database,
        "new database": lambda: sqlite3.connect(f"{folder}/new.db").execute("create table t (x)"),
    }


def memory() -> dict[str, Trial]:
    import numpy as np
    import pyarrow as pa

    def threads() -> None:
        threading.stack_size(1 << 28)
        threading.Thread(target=print, daemon=True).start()

    limit = int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE + (64 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return {
        "python": lambda: bytearray(1 << 30),
        "numpy": lambda: np.ones(1 << 28),
        "pyarrow": lambda: pa.allocate_buffer(1 << 30),
        "map": lambda: mmap.mmap(-1, 1 << 30),
        "thread": threads,
        "library": lambda: ctypes.CDLL(_library()),
        "import": lambda: __import__("polars"),
    }


def _library() -> str:
    import importlib.util

    folder = Path(importlib.util.find_spec("tensorflow").origin).parent
    return str(next(folder.glob("libtensorflow_cc.so*")))


def files() -> dict[str, Trial]:
    held: list[Any] = []

    def opened() -> None:
        while True:
            held.append(open(os.devnull))  # noqa: SIM115

    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    folder = tempfile.mkdtemp()
    return {
        "open": opened,
        "process": lambda: subprocess.run(["true"]),
        "database": lambda: sqlite3.connect(f"{folder}/x.db").execute("create table t (x)"),
    }


def main(what: str, folder: str | None = None) -> None:
    if folder:
        os.environ["FOLIO_HOME"] = folder
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "none", folder], check=True)
    if what == "closed":
        with closing(sqlite3.connect(f"{folder}/there.db")) as connection:
            connection.execute("create table t (x)")
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    trials = globals()[what](*filter(None, [folder]))
    told = {}
    for name, trial in trials.items():
        try:
            trial()
            told[name] = "nothing was refused"
        except Exception as error:
            told[name] = refusal_of(error) or f"NOT explained: {type(error).__name__}: {error}"
    os.write(1, json.dumps(told).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
