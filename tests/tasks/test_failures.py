"""What a failed run's page says: one line, and for the unforeseen a traceback in its log."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect import State, flow
from prefect.states import Completed

from pipelines.errors import FolioError
from tasks.failures import UNFORESEEN, failed
from tasks.reporting import settle
from tests.prefect_server import rows

pytestmark = pytest.mark.slow

LINE = "far-away.txt: not found; fix source.url"


class Surprise(Exception):
    """An error of somebody else's."""


@flow(flow_run_name="{name}")
def failing(name: str, foreseen: bool) -> State:
    try:
        raise FolioError(LINE) if foreseen else Surprise("the first line\nand a second\n")
    except Exception as error:
        return failed(error)
    return Completed()


def page_of(prefect_home: Path, name: str) -> tuple[str, str, str]:
    """(state type, its message, the log) of a flow run."""
    assert settle() == 0
    ((number, kind, message),) = rows(
        prefect_home,
        "select f.id, f.state_type, s.message from flow_run f "
        "join flow_run_state s on s.id = f.state_id where f.name = ?",
        name,
    )
    log = rows(prefect_home, "select message from log where flow_run_id = ?", number)
    return kind, message, "\n".join(line for (line,) in log)


def test_a_foreseen_failure_says_its_line_and_no_traceback(prefect_home: Path) -> None:
    with pytest.raises(FolioError, match=LINE):
        failing("foreseen", True)
    kind, message, log = page_of(prefect_home, "foreseen")
    assert (kind, message) == ("FAILED", LINE) and "Traceback" not in log


def test_an_unforeseen_one_says_a_line_too_and_logs_where(prefect_home: Path) -> None:
    with pytest.raises(Surprise):
        failing("surprised", False)
    kind, message, log = page_of(prefect_home, "surprised")
    assert (kind, message) == ("FAILED", UNFORESEEN.format("Surprise: the first line"))
    assert "\n" not in message
    assert "Traceback" in log and "and a second" in log and "test_failures.py" in log
