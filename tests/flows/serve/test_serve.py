"""`folio serve` for real: what it answers, refuses, and does when the champion changes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from pipelines.declaration.model_sections import RegistrySpec
from pipelines.serving.predictor import Predictor
from pipelines.serving.registered import load_champion
from pipelines.store.settings import Settings
from tests.conftest import PROJECT
from tests.pipelines.release.test_stage import NAME, inputs_of, released

pytestmark = pytest.mark.slow

FOLIO = str(Path(sys.executable).with_name("folio"))
REVIEWS, PLAY = "tiny-reviews", "tiny-play"
Served = tuple[httpx.Client, subprocess.Popen]
TEXTS = ["a wonderful film", "dull, dull, dull", "", "wonderful " * 60]


@contextmanager
def serving(
    home: Path, name: str, *options: str
) -> Iterator[tuple[httpx.Client, subprocess.Popen]]:
    process = subprocess.Popen(
        [FOLIO, "serve", name, "--port", "0", *options],
        env=os.environ | {"FOLIO_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )
    try:
        found = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert found and found[0].startswith("http://127.0.0.1:"), process.communicate()
        with httpx.Client(base_url=found[0], timeout=60) as client:
            yield client, process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def classifier(trained: Settings) -> Iterator[httpx.Client]:
    with serving(trained.home, REVIEWS) as (client, _):
        yield client


@pytest.fixture(scope="module")
def writer(trained: Settings) -> Iterator[httpx.Client]:
    with serving(trained.home, PLAY) as (client, _):
        yield client


def test_it_answers_as_the_package_does(trained: Settings, classifier: httpx.Client) -> None:
    found = classifier.post("/predict", json={"texts": TEXTS})
    assert found.status_code == 200 and found.json()["version"] == 1
    wanted = Predictor.load(load_champion(trained.home, REVIEWS), "numpy").predict(TEXTS)
    for row in wanted:
        del row["text"]
    assert found.json()["predictions"] == wanted
    assert classifier.post("/predict", json={"texts": []}).json()["predictions"] == []


def test_requests_at_the_same_time_get_their_own_answers(classifier: httpx.Client) -> None:
    texts = [f"{word} film" for word in ("wonderful", "dull", "fine", "boring")] * 10

    def asked(text: str) -> dict:
        (row,) = classifier.post("/predict", json={"texts": [text]}).json()["predictions"]
        return row

    alone = {text: asked(text) for text in set(texts)}
    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(asked, texts))
    for text, ours in zip(texts, found, strict=True):
        wanted = alone[text]
        assert ours["label"] == wanted["label"]
        assert ours["probability"] == pytest.approx(wanted["probability"], abs=1e-6)


def test_a_language_model_predicts_and_writes(trained: Settings, writer: httpx.Client) -> None:
    package = Predictor.load(load_champion(trained.home, PLAY), "numpy")
    found = writer.post("/predict", json={"texts": ["MARIAN:"], "top": 3}).json()
    assert found["predictions"] == [{"next": package.next_tokens("MARIAN:", 3)}]
    wish = {"starts": ["MARIAN:", ""], "length": 30, "temperature": 0.7, "seed": 5}
    assert writer.post("/generate", json=wish).json() == {
        "pipeline": PLAY,
        "version": 1,
        "texts": package.generate(wish["starts"], 30, 0.7, 5),
    }


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/predict", b"{", 422, "the body: invalid JSON"),
        ("/predict", b'{"texts": "one"}', 422, "texts: input should be a valid array"),
        ("/predict", b'{"texts": [1]}', 422, "texts.0: input should be a valid string"),
        ("/predict", b'{"text": []}', 422, "texts: field required"),
        ("/predict", b'{"texts": [], "top": 3}', 422, "top: extra inputs are not permitted"),
        ("/predict", json.dumps({"texts": ["x"] * 1025}).encode(), 422, "at most 1024 items"),
        ("/predict", b" " * (8 * 2**20 + 1), 422, "more than 8,388,608 bytes"),
        ("/generate", b"{}", 422, "tiny-reviews is a classifier: use predict"),
        ("/nowhere", b"{}", 404, "POST /nowhere: not found"),
        ("/health", b"{}", 405, "POST /health: method not allowed"),
    ],
)
def test_a_bad_request_gets_one_line(
    path: str, body: bytes, status: int, detail: str, classifier: httpx.Client
) -> None:
    found = classifier.post(path, content=body)
    assert found.status_code == status and detail in found.json()["detail"]
    assert "\n" not in found.json()["detail"]


def test_unknown_characters_and_impossible_wishes_are_one_line(writer: httpx.Client) -> None:
    for wish, detail in (
        ({"starts": ["☃"]}, "does not know '☃'"),
        ({"length": 5001}, "length: input should be less than or equal to 5000"),
        ({"temperature": -1}, "temperature: input should be greater than"),
    ):
        found = writer.post("/generate", json=wish)
        assert found.status_code == 422 and detail in found.json()["detail"]


def test_the_page_describes_the_paths_and_fetches_nothing_from_elsewhere(
    writer: httpx.Client,
) -> None:
    page, schema = writer.get("/").text, writer.get("/openapi.json").json()
    assert {"/predict", "/generate", "/health"} == set(schema["paths"])
    for text in ("tiny-play, version 1", "POST /generate", "temperature", "tokens"):
        assert text in page
    example = re.search(r"-d &#39;(.*?)&#39;|-d '(.*?)'", page)
    body = (example[1] or example[2]).replace("&#34;", '"')
    assert writer.post("/predict", content=body).status_code in (200, 422)
    assert not re.search(r"(src|href)=.?(https?:)?//", page)


def test_a_page_of_another_site_gets_nothing(classifier: httpx.Client) -> None:
    for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}):
        found = classifier.post("/predict", json={"texts": ["x"]}, headers=headers)
        assert found.status_code == 403


def test_another_champion_answers_without_a_restart(trained: Settings, tmp_path: Path) -> None:
    home, spec = tmp_path / "home", RegistrySpec(metric="accuracy", floor=0.3)
    shutil.copytree(trained.home, home)
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
    released(inputs_of(trained, 0.6, home), spec, home, tmp_path / "first")
    with serving(home, NAME) as (client, _), serving(home, NAME, "--version", "1") as (fixed, _):
        assert client.get("/health").json()["version"] == 1
        released(inputs_of(trained, 0.9, home), spec, home, tmp_path / "second")
        until = time.monotonic() + 60
        while client.get("/health").json()["version"] == 1 and time.monotonic() < until:
            time.sleep(0.2)
        assert client.post("/predict", json={"texts": ["fine"]}).json()["version"] == 2
        assert fixed.post("/predict", json={"texts": ["fine"]}).json()["version"] == 1


def test_it_stops_on_ctrl_c_and_says_what_is_missing(trained: Settings) -> None:
    with serving(trained.home, REVIEWS) as (client, process):
        port = client.base_url.port
        again = subprocess.run(
            [FOLIO, "serve", REVIEWS, "--port", str(port)],
            env=os.environ | {"FOLIO_HOME": str(trained.home)},
            capture_output=True,
            text=True,
        )
        assert again.returncode == 1 and "choose another --port" in again.stderr
        assert client.get("/health").json()["status"] == "ok"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    nobody = subprocess.run(
        [FOLIO, "serve", "nobody", "--port", "0"],
        env=os.environ | {"FOLIO_HOME": str(trained.home)},
        capture_output=True,
        text=True,
    )
    assert nobody.returncode == 2 and "no model is registered" in nobody.stderr
