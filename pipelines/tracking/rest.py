"""MLflow's REST API, as far as `Tracking` needs it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from requests import Session

from pipelines.errors import FolioError
from pipelines.mlflow_private.run_tables import Point, Run
from pipelines.network.addresses import redacted, shown
from pipelines.tracking.runs import PER_CALL

SECONDS = (3.05, 10)  # to connect, to answer
NONE = 404


class Server:
    """The MLflow server at an address, with the credentials that MLflow's client takes."""

    def __init__(self, address: str) -> None:
        self._address, self._session = address.rstrip("/"), Session()
        given = os.environ.get
        if token := given("MLFLOW_TRACKING_TOKEN"):
            self._session.headers["Authorization"] = f"Bearer {token}"
        elif user := given("MLFLOW_TRACKING_USERNAME"):
            self._session.auth = (user, given("MLFLOW_TRACKING_PASSWORD", ""))
        certificate = given("MLFLOW_TRACKING_SERVER_CERT_PATH")
        insecure = given("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
        self._session.verify = certificate or not insecure

    def experiment(self, name: str) -> str:
        found = self._get("experiments/get-by-name", experiment_name=name)
        if found is None:
            return str(self._post("experiments/create", name=name)["experiment_id"])
        identity = str(found["experiment"]["experiment_id"])
        if found["experiment"]["lifecycle_stage"] == "deleted":
            self._post("experiments/restore", experiment_id=identity)
        return identity

    def create(self, experiment: str, name: str, start: int) -> str:
        made = self._post("runs/create", experiment_id=experiment, run_name=name, start_time=start)
        return str(made["run"]["info"]["run_id"])

    def find(self, experiment: str, tag: str, value: str) -> list[Run]:
        found = self._post(
            "runs/search",
            experiment_ids=[experiment],
            filter=f"tags.`{tag}` = '{value}'",
            order_by=["attributes.start_time DESC"],
        )
        infos = [run["info"] for run in found.get("runs", [])]
        return [Run(one["run_id"], one["run_name"], one["status"]) for one in infos]

    def log(
        self,
        run: str,
        points: Collection[Point] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        if params:
            data = self._get("runs/get", run_id=run)["run"].get("data", {})
            known = {one["key"] for one in data.get("params", [])}
            params = {key: value for key, value in params.items() if key not in known}
        given = iter((params or {}).items())
        while some := dict(islice(given, PER_CALL)):
            self._post("runs/log-batch", run_id=run, params=_pairs(some))
        if points or tags:
            metrics = [point._asdict() for point in points]
            self._post("runs/log-batch", run_id=run, metrics=metrics, tags=_pairs(tags or {}))

    def update(self, run: str, status: str, end: int | None = None, name: str = "") -> None:
        more = {"end_time": end, "run_name": name}
        given = {key: value for key, value in more.items() if value}
        self._post("runs/update", run_id=run, status=status, **given)

    def steps(self, run: str, key: str) -> set[int]:
        found = self._get("metrics/get-history", run_id=run, metric_key=key) or {}
        return {int(one.get("step", 0)) for one in found.get("metrics", [])}

    def _get(self, what: str, **asked: str) -> Any:
        return self._answer("GET", what, params=asked)

    def _post(self, what: str, **body: Any) -> Any:
        return self._answer("POST", what, json=body)

    def _answer(self, method: str, what: str, **given: Any) -> Any:
        """The JSON of the answer; None if there is no such object."""
        where = f"{self._address}/api/2.0/mlflow/{what}"
        try:
            answer = self._session.request(method, where, timeout=SECONDS, **given)
        except OSError as error:  # among them all of Requests' own
            message = redacted(f"{shown(self._address)}: {error}", self._address)
            raise FolioError(message) from error
        if answer.status_code == NONE and method == "GET":
            return None
        if not answer.ok:
            raise FolioError(f"{shown(self._address)}: answered {answer.status_code} to {what}")
        return answer.json()


def _pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]
