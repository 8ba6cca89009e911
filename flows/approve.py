"""Asks a person whether a version becomes champion, for pipelines with `registry.approval: manual`.

The run is suspended until somebody resumes it on Prefect's page: no process waits.
"""

from __future__ import annotations

from prefect import State, flow
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput, keyset_from_base_key
from prefect.input.actions import delete_flow_run_input, read_flow_run_input
from prefect.states import Completed
from pydantic import Field

from flows.parameters import Pipeline
from pipelines.errors import FolioError
from pipelines.files.home import home_folder, private_files
from pipelines.registry.approval import decline
from pipelines.registry.champions import promote
from pipelines.registry.lookup import named_version, waits
from pipelines.run.retraining import on_stderr
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import dashboard_after
from tasks.events import emit_new_champion
from tasks.failures import failed

KEY = "approval"  # of the question within the run
TIMEOUT_SECONDS = 7 * 24 * 3600  # then the run fails, and the version stays as it is
ASKED = """\
**Shall version {version} of {pipeline} become champion?** The promotion gate says: {reason}

Without an answer within 7 days it stays registered and is not promoted. On the command line:
`folio promote {pipeline} {version}`
"""


class Approval(RunInput):
    approve: bool = Field(True, description="whether the version becomes champion")
    reason: str = Field("in Prefect", description="the reason, recorded in the journal")


@flow(name="approve", flow_run_name="{pipeline} version {version}", persist_result=False)
def approve(pipeline: Pipeline, version: int) -> State:
    """Wait until a person decides, then promote the version or leave it.

    Args:
        pipeline: a pipeline with registry.approval manual
        version: the version that waits
    """
    with private_files():
        try:
            return _decided(pipeline, version)
        except FolioError as error:
            return failed(error)


def _decided(pipeline: str, version: int) -> State:
    home = home_folder()
    asked = named_version(home, pipeline, version)
    if not waits(asked):
        return Completed(message=f"{pipeline} version {version} does not wait for approval")
    said = ASKED.format(
        pipeline=pipeline, version=version, reason=asked.tags.get("folio.reason", "promote")
    )
    answer = _answer(said)
    with dashboard_after(Settings.at(home), on_stderr):
        change = promote if answer.approve else decline
        change(home, pipeline, version, answer.reason)
    if not answer.approve:
        return Completed(name="Not approved", message=f"{pipeline} version {version} is not used")
    emit_new_champion(pipeline, version)
    return Completed(message=f"{pipeline} version {version} is champion")


def _answer(said: str) -> Approval:
    """A run that died after it had asked finds the answer here, or asks again."""
    keys = keyset_from_base_key(f"suspended-{KEY}")
    if (given := read_flow_run_input(keys["response"])) is not None:
        return Approval.model_validate(given)
    for name in keys.values():
        if read_flow_run_input(str(name)) is not None:
            delete_flow_run_input(str(name))
    return suspend_flow_run(
        wait_for_input=Approval.with_initial_data(description=said),
        timeout=TIMEOUT_SECONDS,
        key=KEY,
    )
