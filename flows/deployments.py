"""What a Prefect server is told to run: one deployment a pipeline, by its declared schedule.

    python -m flows.deployments > prefect.yaml      after a declaration was added or changed

Entrypoints are modules, so that a worker runs the Folio that is installed where it runs, in
whatever folder it was started.
"""

from __future__ import annotations

import sys
from typing import Any

import yaml

from pipelines.declaration.load import catalog_names, load_spec
from pipelines.files.home import PROJECT

CPU, GPU = "cpu", "gpu"  # work pools
FILE = PROJECT / "prefect.yaml"
HEADER = """\
# Written by `python -m flows.deployments > prefect.yaml` from pipelines/catalog; change the
# declarations, not this file. `folio up` applies it, as does: prefect deploy --all
"""


def deployments() -> dict[str, Any]:
    """prefect.yaml as data: retrain/NAME, stage/NAME and, of classifiers, score/NAME in pool cpu,
    train/train in pool gpu."""
    names = catalog_names()
    listed = [
        *map(_retrain, names),
        *map(_stage, names),
        *map(_score, classifiers()),
        _deployment("train", "train", GPU),
    ]
    return {"name": "folio", "pull": [], "deployments": listed}


def _retrain(name: str) -> dict[str, Any]:
    spec = load_spec(name)
    if spec.schedule is None:
        return _deployment("retrain", name, CPU, {"pipeline": name}, spec.title)
    when = {"cron": spec.schedule.cron, "timezone": spec.schedule.timezone}
    given = {"pipeline": name, "profile": spec.schedule.profile}
    return _deployment("retrain", name, CPU, given, spec.title) | {"schedules": [when]}


def _stage(name: str) -> dict[str, Any]:
    return _deployment(
        "stage", name, CPU, {"pipeline": name, "stage": "metrics"}, f"One stage of {name} again"
    )


def _score(name: str) -> dict[str, Any]:
    return _deployment(
        "score", name, CPU, {"pipeline": name}, f"Scores new files by the champion of {name}"
    )


def classifiers() -> list[str]:
    return [name for name in catalog_names() if load_spec(name).model.kind == "classifier"]


def _deployment(
    flow: str,
    name: str,
    pool: str,
    parameters: dict[str, Any] | None = None,
    description: str = "The model stage of a run that goes on elsewhere",
) -> dict[str, Any]:
    return {
        "name": name,
        "description": description,
        "entrypoint": f"flows.{flow}.{flow}",
        "parameters": parameters or {},
        "work_pool": {"name": pool},
        "tags": ["folio"],
    }


def main() -> None:
    sys.stdout.write(HEADER)
    yaml.safe_dump(deployments(), sys.stdout, sort_keys=False, allow_unicode=True, width=100)


if __name__ == "__main__":
    main()
