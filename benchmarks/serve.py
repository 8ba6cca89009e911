"""Requests per second of `folio serve`: one short text each, from several connections at once."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, cast

from benchmarks.data import imdb, made, texts
from benchmarks.harness import Conditions, Side, Turn, take_turns, timed
from benchmarks.results import Row
from pipelines.serving.registered import load_champion

ONE_EPOCH = ("training.epochs=1", "registry.floor=0")
CONNECTIONS, WORDS = 32, 12
REQUESTS, ALONE = 4000, 50  # of a round, to the server and to Keras


def compare(conditions: Conditions) -> Iterator[Row]:
    declared = imdb(conditions, *ONE_EPOCH)
    place = made(conditions, declared, until="release")
    short = [" ".join(text.split()[:WORDS]) for text in texts(place["corpus"], "test", 500)[0]]
    name = declared[0]
    found = take_turns(
        {
            "ours": Side(
                ours, (conditions.home, name, short, 64 if conditions.quick else REQUESTS)
            ),
            "keras": Side(keras, (conditions.home, name, short)),
        },
        conditions.repeats,
    )
    yield Row.times(
        "serve/keras",
        f"Answering texts of {WORDS} words",
        "Keras predict, a text a call",
        found["ours"],
        found["keras"],
        "texts/s",
        10,
        f"The book's bi-LSTM. Folio: POST /predict with a text each, from {CONNECTIONS} "
        "connections; the client runs on the same cores. The other side calls `model.predict` "
        "on ids.",
    )


def ours(home: Path, name: str, short: list[str], count: int) -> Turn:
    process = subprocess.Popen(
        [Path(sys.executable).with_name("folio"), "serve", name, "--port", "0"],
        env=os.environ | {"FOLIO_HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )
    Finalize(None, process.kill, exitpriority=1)
    assert process.stdout is not None
    address = re.search(r"http://([\d.]+):(\d+)", process.stdout.readline())
    if address is None:
        raise RuntimeError("folio serve did not start")
    host, port = address[1], int(address[2])
    requests = [_request(host, text) for text in short]
    return lambda: count / timed(lambda: asyncio.run(_ask(host, port, requests, count)))


def _request(host: str, text: str) -> bytes:
    body = json.dumps({"texts": [text]}).encode()
    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _ask(host: str, port: int, requests: list[bytes], count: int) -> None:
    """All connections together send `count` requests, each connection one after the other."""
    left = iter(range(count))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for number in left:
            writer.write(requests[number % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            length = re.search(rb"content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))


def keras(home: Path, name: str, short: list[str]) -> Turn:
    """Texts per second, one `predict` a text, on ids of the same vocabulary."""
    from pipelines.serving.batching import model_inputs
    from pipelines.serving.predictor import Predictor

    predictor = Predictor.load(load_champion(home, name), "tensorflow")
    vocabulary, model = predictor.vocabulary, cast(Any, predictor.model)
    inputs = []
    for text in short[:ALONE]:
        tokens, length = model_inputs([vocabulary.encode(text)], vocabulary.pad_id)
        inputs.append({"tokens": tokens, "length": length})
    for one in inputs:  # traces
        model.predict(one, verbose=0)
    return lambda: len(inputs) / timed(lambda: [model.predict(one, verbose=0) for one in inputs])
