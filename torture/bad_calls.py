"""Wrong calls: what Prefect, MLflow and `folio serve` are sent, and `import folio` is given."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from torture.doors import running
from torture.homes import environment
from torture.trials import Trials
from torture.wrong_values import GIVEN, VALUES, body

SECONDS = 60  # of a call
AT_ONCE = 12  # calls of one Python process
NOBODY = UUID(int=0)
MLFLOW = "/api/2.0/mlflow"
RIGHT: dict[str, dict[str, dict[str, Any]]] = {  # {server: {path: a body that it would take}}
    "prefect": {
        "/api/flow_runs/filter": {"limit": 5, "flow_runs": {"name": {"like_": "a"}}},
        "/api/deployments/filter": {"limit": 5, "sort": "NAME_ASC"},
        "/api/logs/filter": {"limit": 5, "logs": {"level": {"ge_": 20}}},
        "/api/work_pools/": {"name": "torture", "type": "process", "concurrency_limit": 1},
        "/api/variables/": {"name": "torture", "value": "x"},
        f"/api/flow_runs/{NOBODY}/set_state": {"state": {"type": "RUNNING"}, "force": True},
        "/api/deployments/{retrain}/create_flow_run": {
            "state": {"type": "PAUSED"},
            "parameters": {"pipeline": "nothing", "profile": "full", "overrides": [], "until": "x"},
        },
    },
    "mlflow": {
        f"{MLFLOW}/experiments/create": {"name": "torture"},
        f"{MLFLOW}/experiments/search": {"max_results": 5, "filter": "name = 'x'"},
        f"{MLFLOW}/runs/search": {"experiment_ids": ["0"], "max_results": 5, "order_by": ["x"]},
        f"{MLFLOW}/runs/log-metric": {"run_id": "x", "key": "a", "value": 1.5, "timestamp": 1},
        f"{MLFLOW}/registered-models/create": {"name": "torture", "tags": [{"key": "a"}]},
        f"{MLFLOW}/model-versions/create": {"name": "reviews", "source": "/etc", "run_id": "x"},
    },
    "classifier": {"/predict": {"texts": ["a film to remember"]}},
    "writer": {
        "/predict": {"texts": ["MARIAN:"], "top": 3},
        "/generate": {"starts": ["MARIAN:"], "length": 5, "temperature": 0.5, "seed": 1},
    },
}
HEALTH = {
    "prefect": "/api/health",
    "mlflow": "/health",
    "classifier": "/health",
    "writer": "/health",
}
OURS = ("classifier", "writer")
CALLS = """
import json, sys
import folio
loaded = {}
for name, arguments in json.load(sys.stdin):
    try:
        if name in ("predict", "generate"):
            model = {"predict": "reviews", "generate": "play"}[name]
            loaded[model] = loaded.get(model) or folio.load(model)
            getattr(loaded[model], name)(**arguments)
        else:
            getattr(folio, name)(**arguments)
        ended = ["answered", ""]
    except BaseException as error:
        ended = [type(error).__name__, str(error)]
    print(json.dumps(ended), flush=True)
"""


@dataclass
class Servers:
    """{name: address}, and the id of a deployment."""

    addresses: dict[str, str]
    deployment: str


@contextmanager
def servers(trials: Trials, home: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        addresses = dict(stack.enter_context(running(trials, home)))
        for name, pipeline in (("classifier", "reviews"), ("writer", "play")):
            process = trials.homes.started(
                home, "serve", pipeline, "--port", 0, stderr=subprocess.DEVNULL
            )
            stack.callback(process.communicate)
            stack.callback(process.kill)
            assert process.stdout is not None
            found = re.search(r"http://[\d.:]+", process.stdout.readline())
            if trials.expect(found, f"folio serve {pipeline} does not start") and found:
                addresses[name] = found[0]
        path = "/api/deployments/filter"
        asked = {"deployments": {"name": {"any_": ["imdb"]}}}
        _, answer = sent(addresses["prefect"], path, json.dumps(asked).encode())
        (deployment,) = (
            one["id"] for one in json.loads(answer) if one["entrypoint"] == "flows.retrain.retrain"
        )
        yield Servers(addresses, deployment)


def a_request(trials: Trials, these: Servers) -> None:
    name = trials.random.choice([one for one in RIGHT if one in these.addresses])
    path = trials.random.choice(list(RIGHT[name]))
    wrong, sent_bytes = body(trials.random, RIGHT[name][path])
    what = f"{name}: POST {path}, {wrong}"
    began = time.monotonic()
    path = path.replace("{retrain}", these.deployment)
    status, answer = sent(these.addresses[name], path, sent_bytes)
    trials.count("API calls")
    trials.expect(time.monotonic() - began < SECONDS, f"{what}: not over after {SECONDS} s")
    trials.expect(b"Traceback" not in answer, f"{what}: a traceback: {answer[-300:]!r}")
    if name in OURS:
        trials.expect(is_clear(status, answer), f"{what}: {status}: {answer[:300]!r}")
    else:  # Prefect and MLflow answer some with 500 and one line, and go on
        trials.expect(status >= 200, f"{what}: hangs up")
    healthy, _ = sent(these.addresses[name], HEALTH[name], None)
    trials.expect(healthy == 200, f"{what}: then {HEALTH[name]} answers {healthy}")


def is_clear(status: int, answer: bytes) -> bool:
    """An answer, or one line about what is wrong."""
    if status == 200:
        return True
    said = json.loads(answer or b"{}").get("detail", "")
    return 400 <= status < 500 and bool(said) and "\n" not in said


def sent(address: str, path: str, content: bytes | None) -> tuple[int, bytes]:
    """Status (0: it hung up) and answer; None as content asks with GET."""
    place = urlsplit(address)
    assert place.hostname and place.port
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=2 * SECONDS)
    try:
        method = "GET" if content is None else "POST"
        connection.request(method, path, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read(1 << 20)
    except (http.client.HTTPException, OSError):
        return 0, b""
    finally:
        connection.close()


def from_python(trials: Trials, home: Path) -> None:
    """Some calls in one process: each answers, or raises what one line explains."""
    calls = [_call(trials) for _ in range(AT_ONCE)]
    done = subprocess.run(
        [sys.executable, "-c", CALLS],
        input=json.dumps(calls),
        env=environment() | {"FOLIO_HOME": str(home)},
        cwd=trials.folder,
        capture_output=True,
        text=True,
        timeout=SECONDS * AT_ONCE,
    )
    ended = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    trials.count("API calls", len(ended))
    trials.expect(len(ended) == AT_ONCE, f"python: {calls} ended it: {done.stderr[-600:]}")
    for (name, arguments), (kind, text) in zip(calls, ended, strict=False):
        well = kind in ("answered", "TypeError") or (kind.endswith("Error") and _is_line(text))
        named = kind not in ("KeyError", "AttributeError", "IndexError", "AssertionError")
        what = f"folio.{name}({str(arguments)[:200]})"
        trials.expect(well and named, f"{what}: {kind}: {text[:400]}")


def _is_line(text: str) -> bool:
    return bool(text) and "\n" not in text.strip()


def _call(trials: Trials) -> tuple[str, dict[str, Any]]:
    chance, given = trials.random, [one for one in GIVEN if one.isascii()]
    anything = chance.choice((*VALUES, *given))
    return chance.choice(
        (
            ("load", {"reference": anything}),
            ("batches", {"reference": anything}),
            ("predict", {"texts": anything}),
            ("predict", {"texts": [anything, "a film"]}),
            ("generate", {"starts": "MARIAN:", "length": 3} | {_option(chance): anything}),
            ("generate", {"starts": anything, "length": 3}),
            ("run", {"pipeline": chance.choice(("nothing", anything)), "until": "nothing"}),
            ("run", {"pipeline": "shakespeare", "settings": {"training.epocs": anything}}),
            ("run", {"pipeline": "shakespeare", "profile": "nothing", "until": anything}),
        )
    )


def _option(chance: Any) -> str:
    return chance.choice(("length", "temperature", "seed", "top_k", "context", "count"))
