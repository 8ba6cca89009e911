"""What the worker of pool gpu does with an order: the very same model, or none."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from flows.train import MODEL, TrainingOrder, carried_out
from pipelines.errors import FolioError
from pipelines.run.plan import recipe_of
from pipelines.store.artifacts import Recipe
from pipelines.store.settings import Settings
from tests.conftest import artifact_of, spec_of

pytestmark = pytest.mark.slow


@pytest.fixture
def recipe(trained: Settings, play: Path) -> Recipe:
    """What decides the model that the trained home has of the play."""
    found = recipe_of(MODEL, spec_of(play), {"batches": artifact_of(trained, play.stem, "batches")})
    assert found.key == artifact_of(trained, play.stem, "model").key
    return found


def order(trained: Settings, play: Path, recipe: Recipe) -> TrainingOrder:
    """As `tasks/pool.py` writes it for a run whose code and packages are those of `recipe`."""
    return TrainingOrder(
        pipeline=str(play),
        profile="full",
        run="20260101-000000-tiny-play-beef",
        batches=artifact_of(trained, play.stem, "batches").key,
        recipe=asdict(recipe),
    )


def test_the_model_that_is_ordered_is_carried_out(
    trained: Settings, play: Path, recipe: Recipe
) -> None:
    result = carried_out(order(trained, play, recipe), trained)
    assert (result.action, result.artifact.key) == ("reuse", recipe.key)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"code": {"pipelines/model/stage.py": "0" * 64}}, "pipelines/model/stage.py changed"),
        ({"libraries": {"keras": "3.0.0"}}, "keras 3.0.0 → 3."),
        ({"config": {"training.epochs": 3}}, "training.epochs 3 → 2"),
    ],
)
def test_a_worker_with_other_code_or_packages_trains_nothing(
    trained: Settings, play: Path, recipe: Recipe, change: dict[str, dict[str, object]], said: str
) -> None:
    ((name, part),) = change.items()
    asked = replace(recipe, **{name: getattr(recipe, name) | part})
    before = set((trained.store.root / "model").iterdir())
    with pytest.raises(FolioError, match="would make another model than run 20260101") as error:
        carried_out(order(trained, play, asked), trained)
    assert said in str(error.value) and "\n" not in str(error.value)
    assert "use the same versions of Folio" in str(error.value)
    assert set((trained.store.root / "model").iterdir()) == before


def test_batches_that_the_worker_cannot_find_are_named(
    trained: Settings, play: Path, recipe: Recipe, tmp_path: Path
) -> None:
    key = artifact_of(trained, play.stem, "batches").key[:12]
    with pytest.raises(FolioError, match=f"batches artifact {key}: it is not in the store"):
        carried_out(order(trained, play, recipe), Settings.at(tmp_path))
