"""The machine refuses something in the middle of a run: no space, a read-only home, no memory, no
file handles. One line, nothing half-published, and the next run on a sound machine ends well. A
clock that is set back or forward between two runs is no reason to refuse."""

from __future__ import annotations

import resource
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from torture.homes import PIPELINES, content_of, processes_of, unrest
from torture.trials import Row, Trials

STEP = 1 << 20
Limit = Callable[[], None]
UNMOUNT = ["umount", "--lazy"]
CLOCKS = ("-400d", "-3d", "-2h", "-90s", "+90s", "+2h", "+3d", "+400d")  # beside the machine's own
# Debian's package libfaketime: whoever asks for the time gets another, in all processes of a run.
OTHER_TIME = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")


def tries(trials: Trials) -> None:
    kinds: list[Callable[[Trials], None]] = [memory, handles, file_size]
    if _mounts(trials.folder / "probe"):
        kinds += [disk, disk, read_only]
    else:
        trials.skip("a full disk and a read-only home: this user may not mount a small disk")
    if preloaded := next(OTHER_TIME, None):
        kinds += [partial(clock, preloaded=preloaded)]
    else:
        trials.skip("a clock that is set: libfaketime is not installed (apt-get install faketime)")
    while trials.go_on():
        trials.random.choice(kinds)(trials)


def disk(trials: Trials) -> None:
    """A home on a disk of 1 to 16 MiB, of which a run needs some ten."""
    home = trials.folder / "disk"
    mebibytes = trials.random.uniform(0.5, 16)
    _mounted(home, f"size={int(mebibytes * STEP)}")
    with suppress(OSError, shutil.Error):  # full already
        shutil.copytree(trials.homes.empty, home, dirs_exist_ok=True)
    _refused(trials, home, f"a disk of {mebibytes:.1f} MiB", None)
    subprocess.run(["mount", "-o", "remount,size=200m", home], check=True)
    _sound(trials, home, f"after a disk of {mebibytes:.1f} MiB")
    subprocess.run([*UNMOUNT, home], check=True)


def read_only(trials: Trials) -> None:
    """A home that can only be read, with some of the stages done."""
    home = trials.folder / "disk"
    _mounted(home, "size=200m")
    shutil.copytree(trials.homes.trained, home, dirs_exist_ok=True)
    for stage in trials.random.sample(["tokens", "batches", "model", "metrics"], 2):
        shutil.rmtree(home / "store" / stage)
    subprocess.run(["mount", "-o", "remount,ro", home], check=True)
    _refused(trials, home, "a read-only home", None)
    subprocess.run(["mount", "-o", "remount,rw", home], check=True)
    _sound(trials, home, "after a read-only home")
    subprocess.run([*UNMOUNT, home], check=True)


def clock(trials: Trials, preloaded: Path) -> None:
    """A run is killed with all that it started, the clock is set, and it is run again."""
    home, name = trials.homes.new(trials.folder / "home"), trials.random.choice(list(PIPELINES))
    declared, clocks = trials.homes.declared(name), trials.random.sample(CLOCKS, 2)
    first, then = ({"LD_PRELOAD": str(preloaded), "FAKETIME": one} for one in clocks)
    process = trials.homes.started(home, "run", declared, env=first)
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=trials.random.uniform(1, 60))
    for one in processes_of(home):
        with suppress(psutil.Error):
            one.kill()
    process.communicate()
    said = trials.homes.folio(home, "run", declared, env=then)
    trials.count("clocks set")
    what = f"a clock of {clocks[0]}, then {clocks[1]}"
    trials.expect(said.code == 0, f"{what}: {name}: exit code {said.code}: {said.err[-600:]}")
    _sound(trials, home, f"after {what}")


def memory(trials: Trials) -> None:
    gigabytes = trials.random.uniform(0.3, 8)
    _limited(trials, resource.RLIMIT_AS, int(gigabytes * (1 << 30)), f"{gigabytes:.2f} GiB")


def handles(trials: Trials) -> None:
    number = trials.random.randint(8, 120)
    _limited(trials, resource.RLIMIT_NOFILE, number, f"{number} file handles")


def file_size(trials: Trials) -> None:
    size = trials.random.randint(1, 900_000)
    _limited(trials, resource.RLIMIT_FSIZE, size, f"files of at most {size:,} bytes")


def _limited(trials: Trials, kind: int, most: int, what: str) -> None:
    home = trials.homes.new(trials.folder / "home")
    _refused(trials, home, what, lambda: resource.setrlimit(kind, (most, most)))
    _sound(trials, home, f"after {what}")


def _refused(trials: Trials, home: Path, what: str, limit: Limit | None) -> None:
    """`folio run` without registering needs no server's database to grow."""
    name = trials.random.choice(list(PIPELINES))
    declared = trials.homes.declared(name)
    said = trials.homes.folio(home, "run", declared, seconds=900, preexec_fn=limit)
    trials.count("runs under a limit")
    trials.count("refused in a line", said.is_one_line)
    traceback = "Traceback" in said.out + said.err or "--verbose shows where" in said.err
    well = said.code == 0 or said.is_one_line
    trials.expect(
        well and not traceback, f"{what}: {name}: exit code {said.code}: {said.err[-600:]}"
    )


def _sound(trials: Trials, home: Path, after: str) -> None:
    """What was published is whole, and a run without the limit ends with the usual bytes."""
    log = trials.folder / "log"
    for name in PIPELINES:
        wanted = trials.homes.content[name]
        found = content_of(home, name)
        other = [stage for stage in found if found[stage] != wanted[stage]]
        trials.expect(not other, f"{after}: {name}: other bytes in {other}")
        given = [str(home), str(trials.homes.declared(name))]
        log.unlink(missing_ok=True)
        ended = trials.homes.forge.run("torture.work:run", given, home, log)
        trials.expect(ended == 0, f"{after}: {name}: run ends with {ended}: {_end_of(log)}")
        same = content_of(home, name) == wanted
        trials.expect(same, f"{after}: {name}: the run ends with other bytes")
    for left in unrest(home):
        trials.broke(f"{after}: {left}")


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-500:]


def _mounts(folder: Path) -> bool:
    try:
        _mounted(folder, "size=1m")
    except (OSError, subprocess.CalledProcessError):
        return False
    subprocess.run([*UNMOUNT, folder], check=True)
    return True


def _mounted(folder: Path, options: str) -> None:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"{options},mode=700", "folio-torture", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


ROW = Row(
    "limits",
    "a full disk, a read-only home, no memory, no handles, another time: nothing half-published",
    {"runs under a limit": 500, "clocks set": 50},
    tries,
)
