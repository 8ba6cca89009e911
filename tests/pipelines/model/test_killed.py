"""Contract 4: killed anywhere, a rerun ends with the weights of an undisturbed run, bit by bit."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipelines.declaration.model_sections import DropoutSpec, ModelSpec
from pipelines.declaration.training_section import AdversarialSpec, TrainingSpec
from tests.forked import exit_code
from tests.pipelines.model.own.test_builder import OURS
from tests.pipelines.model.test_stage import CLASSIFIER, TRAINING, WRITER, batches, train

pytestmark = pytest.mark.slow

__all__ = ["batches"]
SHUFFLED = TRAINING.model_copy(update={"shuffle": True})
ONE_LAYER = CLASSIFIER.model_copy(update={"units": (5,)})  # a second would be traced for seconds
PRACTISED = ONE_LAYER.model_copy(
    update={
        "bidirectional": False,
        "dropout": DropoutSpec(word=0.1, embedding=0.2, recurrent=0.3, output=0.2, dense=0.1),
        "pool": "all",
        "layer_norm": True,
    }
)
STACKED = PRACTISED.model_copy(update={"units": (5, 5), "residual": True, "pool": "mean"})
HIGHEST = PRACTISED.model_copy(update={"pool": "max"})
PRACTISED_WRITER = WRITER.model_copy(
    update={
        "units": (5, 5),
        "dropout": DropoutSpec(
            word=0.1, embedding=0.2, recurrent=0.3, between=0.1, output=0.2, dense=0.1
        ),
        "tie_embeddings": True,
        "residual": True,
        "layer_norm": True,
    }
)
PRACTISES = {"weight_decay": 0.1, "average": 0.9, "label_smoothing": 0.1, "clip_norm": 1.0}
ONE_CYCLE = TRAINING.model_copy(update={**PRACTISES, "schedule": "one_cycle", "loop": "custom"})
WARMED_UP = TRAINING.model_copy(update={**PRACTISES, "schedule": "cosine", "warmup": 0.5})
LINEAR = TRAINING.model_copy(update={**PRACTISES, "schedule": "linear", "warmup": 0.2})
SAMPLED = WARMED_UP.model_copy(update={"label_smoothing": 0.0, "sampled_softmax": 16})
ADVERSARIAL = ONE_CYCLE.model_copy(update={"adversarial": AdversarialSpec(kind="adversarial")})
VIRTUAL = ONE_CYCLE.model_copy(update={"adversarial": AdversarialSpec(kind="virtual")})


def train_until(kill_at: int, *given: Any, **start: Path) -> None:
    """Killed before the step of that number."""

    def progress(done: float, total: float, unit: str) -> None:
        if done == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    train(*given, progress=progress, **start)


@pytest.mark.usefixtures("drawing")  # but not in the processes that are killed
@pytest.mark.parametrize(
    ("data", "spec", "settings", "kills"),
    [
        pytest.param("classifier", ONE_LAYER, TRAINING, (5, 17), marks=pytest.mark.long),
        ("language_model", WRITER, TRAINING, (8, 25)),
        pytest.param("language_model", WRITER, SHUFFLED, (8, 25), marks=pytest.mark.long),
        pytest.param("speeches", WRITER, SHUFFLED, (6, 19), marks=pytest.mark.long),
        pytest.param("classifier", PRACTISED, ONE_CYCLE, (5, 17), marks=pytest.mark.long),
        pytest.param("classifier", STACKED, LINEAR, (17,), marks=pytest.mark.long),
        pytest.param("classifier", HIGHEST, LINEAR, (5,), marks=pytest.mark.long),
        pytest.param("language_model", PRACTISED_WRITER, WARMED_UP, (25,), marks=pytest.mark.long),
        pytest.param("language_model", PRACTISED_WRITER, SAMPLED, (25,), marks=pytest.mark.long),
        pytest.param("classifier", PRACTISED, ADVERSARIAL, (14,), marks=pytest.mark.long),
        pytest.param("classifier", OURS["classifier"], ONE_CYCLE, (17,), marks=pytest.mark.long),
        pytest.param(
            "language_model", OURS["language_model"], WARMED_UP, (25,), marks=pytest.mark.long
        ),
        pytest.param("half", PRACTISED, VIRTUAL, (17,), marks=pytest.mark.long),
    ],
    ids=[
        "classifier",
        "language_model",
        "shuffled lanes",
        "speeches",
        "practised",
        "two layers, residual",
        "highest outputs",
        "practised language_model",
        "sampled softmax",
        "adversarial",
        "a network of one's own",
        "a language model of one's own",
        "virtual, with unlabelled text",
    ],
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


@pytest.mark.long
@pytest.mark.usefixtures("drawing")
def test_a_training_that_started_from_a_model_ends_with_the_same_bits(
    tmp_path: Path, batches: dict[str, Path]
) -> None:
    train(tmp_path / "first", batches["classifier"], ONE_LAYER)
    given, start = (batches["classifier"], ONE_LAYER, TRAINING), tmp_path / "first" / "out"
    train(tmp_path / "whole", *given, start=start)
    log = tmp_path / "log"
    code = exit_code(log, partial(train_until, start=start), 7, tmp_path / "killed", *given)
    assert code == -signal.SIGKILL, log.read_text()
    assert train(tmp_path / "killed", *given, start=start)["resumed"]
    model = (tmp_path / "killed" / "out" / "model.keras").read_bytes()
    assert model == (tmp_path / "whole" / "out" / "model.keras").read_bytes()
    assert model != (tmp_path / "first" / "out" / "model.keras").read_bytes()
