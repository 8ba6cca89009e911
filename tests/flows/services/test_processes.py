"""What becomes of the children of a process that `folio up` keeps running, when that is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT

# A server whose child holds the port, as MLflow's does; the supervisor is a process of its own,
# because it adopts orphans for good.
SERVER = """
import subprocess, sys
hold = "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1])));\
 print('bound', flush=True); time.sleep(60)"
sys.exit(subprocess.call([sys.executable, "-c", hold, sys.argv[1]]))
"""
SUPERVISOR = """
import os, signal, socket, sys, time
from pathlib import Path
from flows.services.processes import Processes, family
log = Path(sys.argv[1])
with socket.create_server(("127.0.0.1", 0)) as probe:
    port = probe.getsockname()[1]
processes = Processes(log, print)
command = [sys.executable, "-c", sys.argv[2], str(port)]
processes.start("it", command, os.environ, sys.argv[3] == "1")
def bound(times):
    deadline = time.monotonic() + 20
    # whole lines: from Python 3.13 on, a traceback quotes the code, where the word is too
    while (said := log.read_text().splitlines()).count("bound") < times and not refused(said):
        assert time.monotonic() < deadline
        processes.tend()
        time.sleep(0.1)
    return said.count("bound")
def refused(said):
    return any("in use" in line for line in said)
bound(1)
os.kill(processes._kept["it"].process.pid, signal.SIGKILL)
print("bound", bound(2))
processes.stop()
print("left", len(family(os.getpid())))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
@pytest.mark.parametrize(("whole", "bound"), [(True, 2), (False, 1)])
def test_a_child_that_holds_the_port_ends_with_its_server(
    tmp_path: Path, whole: bool, bound: int
) -> None:
    given = [tmp_path / "log", SERVER, str(int(whole))]
    done = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, *given],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"bound {bound}" in done.stdout, done.stdout + done.stderr
    assert "left 0" in done.stdout
