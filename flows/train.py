"""The flow on workers of the pool gpu: the model stage of a run in another process."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import State, flow
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field

from flows.display.console import Console
from flows.parameters import Override, Pipeline, Profile
from pipelines.declaration.load import load_spec
from pipelines.declaration.reading.declared import pipeline_name
from pipelines.errors import FolioError
from pipelines.files.home import home_folder, private_files
from pipelines.run.changes import why_changed
from pipelines.run.execute import StageResult, execute_stage
from pipelines.run.options import Selection
from pipelines.run.plan import recipe_of
from pipelines.stages import stage_named
from pipelines.store.artifacts import Recipe
from pipelines.store.live_runs import living
from pipelines.store.settings import Settings
from pipelines.store.times import utc
from tasks.failures import failed
from tasks.progress import watched

MODEL = stage_named("model")
Key = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class TrainingOrder(BaseModel):
    """A training, described so that two machines agree on it; `tasks/pool.py` writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pipeline: Pipeline
    profile: Profile
    overrides: list[Override] = []
    sample: bool = False
    run: str = Field(description="id of the run that the training belongs to")
    batches: Key = Field(description="the artifact to train on")
    start: Key | None = Field(None, description="the artifact that model.start_from brings")
    recipe: dict[str, Any] = Field(
        description="everything that determines the model's bytes, as the run computed it"
    )
    force: bool = Field(False, description="train even if the model exists")
    require_gpu: bool = False


@flow(name="train", persist_result=False)
def train(order: TrainingOrder) -> State:
    """Train, and publish the model in the store shared with the requesting run."""
    with private_files(), Console() as console:
        settings = Settings.at(
            home_folder(),
            gpu="required" if order.require_gpu else "preferred",
            progress=watched(pipeline_name(order.pipeline), console.progress, console.notice),
            log=get_run_logger().info,
        )
        going_on = {
            "run": flow_run.name,
            "part_of": order.run,
            "pipeline": order.pipeline,
            "started": utc(datetime.now(UTC)),
            "attempt": flow_run.run_count,
        }
        try:
            with living(settings.runs.folder, going_on):
                result = carried_out(order, settings)
        except Exception as error:
            return failed(error)
    return Completed(message=f"{result.action} ({result.reason}), {result.seconds:.1f} s")


def carried_out(order: TrainingOrder, settings: Settings) -> StageResult:
    """The ordered model. Raises FolioError if this worker would make a different one."""
    spec = load_spec(order.pipeline, order.profile, tuple(order.overrides), order.sample)
    keys = {"batches": order.batches, "start": order.start}
    inputs = {name: settings.store.open(name, key) for name, key in keys.items() if key}
    recipe = recipe_of(MODEL, spec, inputs)
    if recipe.key != Recipe(**order.recipe).key:
        raise FolioError(
            f"this worker would make another model than run {order.run} asks for: "
            f"{why_changed(recipe, order.recipe)}; use the same versions of Folio and of "
            "its packages on both"
        )
    forced = (MODEL.name,) if order.force else ()
    return execute_stage(MODEL, spec, inputs, settings, Selection((MODEL.name,), forced), order.run)
