"""The start stage: takes the vocabulary and the model of another pipeline's registered version.

Writes `vocabulary/` and `model.keras`, unchanged. Only pipelines with `model.start_from` have this
stage; `pipelines/run/upstream.py` finds the version, and checks that the network fits.
"""

from __future__ import annotations

import shutil
from typing import Any

from pipelines.store.artifacts import Inputs, Workspace


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """`inputs` are the version's model and tokens. Returns its pipeline and number."""
    shutil.copytree(inputs["tokens"].path / "vocabulary", work.out / "vocabulary")
    shutil.copyfile(inputs["model"].path / "model.keras", work.out / "model.keras")
    start = config["model.start_from"]
    return {"pipeline": start.pipeline, "version": start.version}
