"""How a failure is told: its run's page says in one line what failed and what to do."""

from __future__ import annotations

from prefect import State
from prefect.logging import get_run_logger
from prefect.states import Failed

from pipelines.errors import FolioError
from pipelines.files.machine import one_line
from pipelines.report.visible import visible

UNFORESEEN = (
    "{}; this was not foreseen: the log of this run has the traceback. Run it again when "
    "that is mended: it goes on from what was published"
)


def failed(error: Exception) -> State:
    """The state of whatever `error` ended; who asks for its result gets the error itself."""
    if isinstance(error, FolioError):
        return Failed(message=visible(one_line(error)), data=error)
    get_run_logger().error("an unforeseen error", exc_info=error)
    return Failed(message=visible(UNFORESEEN.format(one_line(error))), data=error)
