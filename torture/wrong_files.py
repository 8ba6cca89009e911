"""Texts and archives as users have them that cannot be read, made by chance."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from typing import Any

BOMB = 300_000_000  # bytes that a small file expands to
Make = Callable[[random.Random], bytes]


def _csv(chance: random.Random) -> bytes:
    rows = ["review,sentiment"] + [f'"text {n} is good",{n % 2}' for n in range(40)]
    place, wrong = (
        chance.randrange(len(rows)),
        chance.choice(
            [
                '"open',
                "a,b,c,d,e",
                "",
                "\0",
                '"x" y,1',
                "text," + "9" * 400,
                ",",
                "\ufeff",
                "x\r\r\n,1",
            ]
        ),
    )
    rows[place] = wrong
    return "\n".join(rows).encode(errors="surrogatepass")


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((0, 1, 2, 100, 100_000)))


def _one_line(chance: random.Random) -> bytes:
    return b"review,sentiment\n" + b"a" * chance.choice((10**5, 3 * 10**6)) + b",1\n"


def _wrong_encoding(chance: random.Random) -> bytes:
    encoding = chance.choice(("utf-16", "cp1252", "utf-32"))
    return "review,sentiment\nbästä,1\nschön,0\n".encode(encoding)


def _json_lines(chance: random.Random) -> bytes:
    rows: list[Any] = [{"review": f"text {n}", "sentiment": n % 2} for n in range(20)]
    rows[chance.randrange(20)] = chance.choice([[], None, 7, {"review": None}, {"x": {"y": []}}])
    text = "\n".join(map(json.dumps, rows))
    return text[: chance.randrange(len(text))].encode()


def _nested(chance: random.Random) -> bytes:
    return b'{"review": ' + b"[" * 100_000


def _packed(chance: random.Random) -> bytes:
    data = gzip.compress(_csv(chance), mtime=0)
    return data[: chance.randrange(len(data))] + chance.randbytes(chance.randrange(3))


def _bomb(chance: random.Random) -> bytes:
    return gzip.compress(b"review,sentiment\n" + bytes(BOMB), 9)


def _zip(chance: random.Random) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        names = ("../../evil.txt", "/etc/evil.txt", "a\\..\\b.txt", "pos/1.txt", "x" * 300)
        name = chance.choice(names)
        packed.writestr(name, b"text " * 50)
        packed.writestr("neg/2.txt", bytes(BOMB) if chance.random() < 0.2 else b"other text " * 30)
    data = bytearray(file.getvalue())
    if chance.random() < 0.5:
        data[chance.randrange(len(data))] ^= 255
    return bytes(data)


def _tar(chance: random.Random) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=chance.choice(("w", "w:gz", "w:xz"))) as packed:
        for name in ("pos/1.txt", "../../evil.txt", "/abs.txt"):
            member = tarfile.TarInfo(name)
            member.size = 5
            member.type = chance.choice((tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE))
            member.linkname = "/etc/passwd"
            packed.addfile(member, io.BytesIO(b"hello") if member.isreg() else None)
    data = file.getvalue()
    return data[: chance.randrange(len(data))] if chance.random() < 0.5 else data


def _parquet(chance: random.Random) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"review": ["a", "b"] * 30, "sentiment": [0, 1] * 30}), file)
    data = bytearray(file.getvalue())
    for _ in range(chance.randint(1, 4)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


FILES: dict[str, tuple[str, Make]] = {  # {what: (ending, its bytes)}
    "a table": (".csv", _csv),
    "noise as a table": (".csv", _noise),
    "a long line": (".csv", _one_line),
    "another encoding": (".csv", _wrong_encoding),
    "JSON lines": (".jsonl", _json_lines),
    "nested JSON": (".jsonl", _nested),
    "a cut gzip": (".csv.gz", _packed),
    "a bomb": (".csv.gz", _bomb),
    "a zip": (".zip", _zip),
    "a tar": (".tar.gz", _tar),
    "Parquet": (".parquet", _parquet),
    "noise as Parquet": (".parquet", _noise),
    "noise as an archive": (".tar.xz", _noise),
}
