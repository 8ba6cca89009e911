"""Contract 4: killed anywhere, a rerun ends with the weights of an undisturbed run, bit by bit."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pipelines.declaration.model_sections import ModelSpec, TrainingSpec
from tests.forked import exit_code
from tests.pipelines.model.test_stage import CLASSIFIER, TRAINING, WRITER, batches, train

__all__ = ["batches"]
SHUFFLED = TRAINING.model_copy(update={"shuffle": True})
ONE_LAYER = CLASSIFIER.model_copy(update={"units": (5,)})  # a second would be traced for seconds


def train_until(kill_at: int, *given: Any) -> None:
    """Killed before the step of that number."""

    def progress(done: float, total: float, unit: str) -> None:
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    train(*given, progress=progress)


@pytest.mark.usefixtures("drawing")  # but not in the processes that are killed
@pytest.mark.parametrize(
    ("data", "spec", "settings", "kills"),
    [
        pytest.param("two widths", ONE_LAYER, TRAINING, (5, 17), marks=pytest.mark.long),
        ("language_model", WRITER, TRAINING, (8, 25)),
        pytest.param("speeches", WRITER, SHUFFLED, (6, 19), marks=pytest.mark.long),
    ],
    ids=["classifier", "language_model", "speeches"],
)
def test_a_killed_training_ends_with_the_same_bits(
    tmp_path: Path,
    batches: dict[str, Path],
    data: str,
    spec: ModelSpec,
    settings: TrainingSpec,
    kills: tuple[int, ...],
) -> None:
    whole = train(tmp_path / "whole", batches[data], spec, settings)
    assert not whole["resumed"]
    for kill_at in kills:  # the second time it has already gone on from a checkpoint
        killed = (tmp_path / "killed", batches[data], spec, settings)
        code = exit_code(tmp_path / "log", train_until, kill_at, *killed)
        assert code == -signal.SIGKILL, (tmp_path / "log").read_text()
        assert not (tmp_path / "killed" / "out" / "model.keras").exists()
    steps: list[float] = []
    rest = train(
        tmp_path / "killed",
        batches[data],
        spec,
        settings,
        progress=lambda done, total, unit: steps.append(done),
    )
    assert rest["resumed"] and steps[0] == kills[-1]  # nothing but the step of the kill is repeated
    for file in ("model.keras", "history.parquet", "model.json"):
        assert (tmp_path / "killed" / "out" / file).read_bytes() == (
            tmp_path / "whole" / "out" / file
        ).read_bytes(), file
