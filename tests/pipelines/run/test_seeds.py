"""One seed for all, or one for the split and one for the training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.declaration.catalog import shipped_names
from pipelines.declaration.load import load_spec
from pipelines.errors import UsageError
from pipelines.run.comparison import Comparison
from pipelines.run.grid import grid_of
from pipelines.run.plan import recipe_of
from pipelines.stages import STAGES
from pipelines.store.artifacts import Artifact
from tests.conftest import spec_of

OF_SPLIT, OF_TRAINING = {"corpus"}, {"batches", "model"}
SEEDED = {stage.name for stage in STAGES if "seed" in stage.config}


def recipes(path: Path, *overrides: str) -> dict[str, Any]:
    """Those of the seeded stages, on the same inputs."""
    inputs = {stage.name: Artifact(stage.name, "", Path(), {"digest": "0"}) for stage in STAGES}
    spec = spec_of(path, *overrides)
    return {stage.name: recipe_of(stage, spec, inputs) for stage in STAGES if stage.name in SEEDED}


def changed(path: Path, *overrides: str) -> set[str]:
    before, after = recipes(path), recipes(path, *overrides)
    return {name for name in before if before[name].key != after[name].key}


def test_undeclared_they_are_in_no_key(reviews: Path) -> None:
    for recipe in recipes(reviews, "seed=7").values():
        assert recipe.config["seed"] == 7
        assert not recipe.config.keys() & {"corpus.seed", "training.seed"}
    assert changed(reviews, "corpus.seed=1", "training.seed=1") == set()  # as seed is
    for name in shipped_names():
        spec = load_spec(name)
        assert (spec.corpus.seed, spec.training.seed) == (None, None)


def test_each_changes_its_own_stages(reviews: Path) -> None:
    assert OF_SPLIT | OF_TRAINING < SEEDED
    assert changed(reviews, "seed=2") == SEEDED
    assert changed(reviews, "corpus.seed=2") == OF_SPLIT
    assert changed(reviews, "training.seed=2") == OF_TRAINING
    given = ("corpus.seed=1", "training.seed=1", "seed=2")
    assert changed(reviews, *given) == SEEDED - OF_SPLIT - OF_TRAINING


@pytest.mark.parametrize("value", ["-1", "2147483648", "1.5", "true", "one"])
def test_a_seed_is_a_whole_number(reviews: Path, value: str) -> None:
    for key in ("seed", "corpus.seed", "training.seed"):
        with pytest.raises(UsageError, match=f"--set {key}: {key}: "):
            spec_of(reviews, f"{key}={value}")


def test_a_comparison_varies_the_seed_of_the_training(reviews: Path) -> None:
    spec = spec_of(reviews, "seed=5")
    compared = Comparison.of(spec, {}, 3, "validation")
    assert compared.overrides({}) == [(f"training.seed={seed}",) for seed in (5, 6, 7)]
    spec = spec_of(reviews, "seed=5", "training.seed=9")
    assert Comparison.of(spec, {}, 2, "validation").seeds == (9, 10)
    assert Comparison.of(spec, {}, 1, "validation").overrides({}) == [()]
    for key in ("seed", "training.seed"):
        with pytest.raises(UsageError, match="--seeds: the grid has a seed"):
            Comparison.of(spec, grid_of(spec, [f"{key}=1,2"]), 2, "validation")


def test_a_comparison_of_different_texts_says_so(reviews: Path) -> None:
    compared = Comparison.of(spec_of(reviews), {"seed": (1, 2)}, 1, "test")

    def said(*texts: str | None) -> bool:
        rows = [{"trainings": [{"test": text, "validation": "v"}]} for text in texts]
        return compared.as_json(rows)["same_text"]

    assert said("a", "a") and said("a", None) and not said("a", "b")
