"""Reports a failure: the run's page says in one line what failed and what to do."""

from __future__ import annotations

from prefect import State
from prefect.logging import get_run_logger
from prefect.states import Failed

from pipelines.errors import FolioError
from pipelines.files.machine import one_line
from pipelines.report.visible import visible

UNFORESEEN = (
    "{}; this is an unexpected error: the log of this run has the traceback. When it is "
    "fixed, run it again: it continues from the published artifacts"
)


def failed(error: Exception) -> State:
    """The state of a run that ended with `error`; asking for its result raises the error itself."""
    if isinstance(error, FolioError):
        return Failed(message=visible(one_line(error)), data=error)
    get_run_logger().error("an unexpected error", exc_info=error)
    return Failed(message=visible(UNFORESEEN.format(one_line(error))), data=error)
