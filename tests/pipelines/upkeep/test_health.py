"""A home in order has nothing to complain of; each harm done to a copy is found and named."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from pipelines.files.locks import try_lock
from pipelines.model.backend import training_device
from pipelines.registry.versions import versions
from pipelines.run.plan import plan
from pipelines.store.artifacts import MANIFEST, lock_of
from pipelines.store.settings import Settings
from pipelines.upkeep import machine_health, pipeline_health, store_health
from pipelines.upkeep.findings import Finding, examined
from pipelines.upkeep.machine_health import outside
from tests.conftest import artifact_of, spec_of
from tests.pipelines.upkeep.test_collect import aged

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


@pytest.fixture
def here(trained: Settings, tmp_path: Path) -> Settings:
    return Settings.at(shutil.copytree(trained.home, tmp_path / "home"))


def checks(here: Settings, digests: bool = False) -> list[Finding]:
    return examined(
        {
            "packages": machine_health.packages,
            "disk": partial(machine_health.disk, here.home),
            "gpu": machine_health.gpu,
            "declarations": partial(pipeline_health.declarations, here),
            "schedules": partial(pipeline_health.schedules, here),
            "registry": partial(pipeline_health.registry, here.home),
            "artifacts": partial(store_health.artifacts, here, digests),
            "damaged": partial(store_health.set_aside, here),
            "leftovers": partial(store_health.leftovers, here),
            "records": partial(store_health.records, here),
        }
    )


def bad(found: Iterable[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.state != "ok"]


def the_only(found: Iterable[Finding], state: str, *parts: str) -> Finding:
    """The one finding that is not ok; `parts` are in it."""
    (finding,) = bad(found)
    told = f"{finding.text} {finding.remedy}"
    assert finding.state == state and all(part in told for part in parts), finding
    return finding


def test_a_home_in_order_is_ok_and_is_left_as_it_is(here: Settings) -> None:
    before = {path: path.stat().st_mtime_ns for path in here.home.rglob("*") if path.is_file()}
    found = checks(here, digests=True)
    assert bad(found) == []
    assert [finding.check for finding in found] == [
        "packages",
        "disk",
        "gpu",
        "declarations",
        "registry",
        "artifacts",
    ]
    assert "16, each file checked by its digest" in found[-1].text
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert set(before) == {path for path in here.home.rglob("*") if path.is_file()}


def test_a_home_that_is_not_there_yet_is_fine_and_not_made(tmp_path: Path) -> None:
    assert bad(checks(Settings.at(tmp_path / "none"))) == []
    assert list(tmp_path.iterdir()) == []


def test_packages_outside_the_bounds_or_missing() -> None:
    found = list(
        outside(
            [
                "keras<3",
                "pyarrow>=1",
                "no-such-package>=2",
                "no-such-backend>=1; extra == 'other'",
                "numpy[x]>=999",
            ]
        )
    )
    assert [(finding.state, finding.remedy) for finding in found] == [
        ("problem", "pip install 'keras<3'"),
        ("problem", "pip install 'no-such-package>=2'"),
        ("problem", "pip install 'numpy>=999'"),
    ]
    assert "outside the tested bounds <3" in found[0].text
    assert "no-such-package is not installed" in found[1].text
    (installed,) = machine_health.packages()
    assert platform.python_version() in installed.text and "tensorflow" in installed.text


def test_a_check_that_fails_hides_no_other() -> None:
    def fail() -> list[Finding]:
        raise OSError("no such luck; try again")

    fine = Finding("second", "ok", "all is well")
    assert examined({"first": fail, "second": lambda: [fine]}) == [
        Finding("first", "problem", "OSError: no such luck", "try again"),
        fine,
    ]


def test_a_declaration_that_is_gone_is_told_with_its_pipeline(here: Settings) -> None:
    record = next(iter(here.runs))
    record |= {"run": "99990101-later", "declared": "/nowhere/tiny.yaml"}
    here.runs.save(record)
    the_only(
        pipeline_health.declarations(here), "warning", record["pipeline"], "/nowhere/tiny.yaml"
    )


def test_a_pipeline_that_has_missed_its_schedule(here: Settings) -> None:
    record = {
        "run": "old",
        "pipeline": "shakespeare",
        "profile": "full",
        "state": "done",
        "sample": False,
        "overrides": [],
        "seconds": 60.0,
        "stages": [{"stage": "release"}],
        "started": f"{NOW - timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}",
    }
    here.runs.save(record)
    the_only(
        pipeline_health.schedules(here, NOW),
        "warning",
        "shakespeare is late: a run was due 2026-07-01 02:00",
        "folio run shakespeare --profile full",
    )
    here.runs.save(record | {"started": f"{NOW - timedelta(hours=9):%Y-%m-%dT%H:%M:%SZ}"})
    assert list(pipeline_health.schedules(here, NOW)) == []


def test_a_dashboard_that_is_out_of_date_is_written_again(here: Settings) -> None:
    finding = the_only(
        pipeline_health.dashboard(here),
        "warning",
        "does not include the last run",
        "folio dashboard",
    )
    assert finding.repair is not None and "index.html" in finding.repair()
    assert list(pipeline_health.dashboard(here)) == []


def flip(path: Path, at: int = -1) -> None:
    """Change one byte; the size stays."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_champion_whose_files_are_not_those_registered(here: Settings) -> None:
    play, reviews = (
        next(one.folder for one in versions(here.home, name))
        for name in ("tiny-play", "tiny-reviews")
    )
    flip(play / "data" / "package" / "model.keras")
    the_only(
        pipeline_health.registry(here.home),
        "problem",
        "tiny-play, version 1",
        "is not what was registered",
        "folio run tiny-play --only release",
    )
    shutil.rmtree(reviews)
    assert "tiny-reviews, version 1" in bad(pipeline_health.registry(here.home))[1].text


def test_a_registry_that_cannot_be_read_says_so(here: Settings) -> None:
    (here.home / "mlflow" / "mlflow.db").write_bytes(b"this is no database" * 100)
    the_only(checks(here), "problem", "mlflow.db: not an MLflow database", "move it away")


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "digests"), [(shorten, False), (Path.unlink, False), (flip, True)]
)
def test_a_damaged_artifact_is_found_and_set_aside(
    here: Settings, play: Path, harm: Callable[[Path], None], digests: bool
) -> None:
    artifact = artifact_of(here, "tiny-play", "corpus")
    harm(next(artifact.path.glob("documents/*.parquet")))
    if harm is flip:
        assert bad(store_health.artifacts(here)) == []  # each byte is read only when asked to
    finding = the_only(
        store_health.artifacts(here, digests),
        "problem",
        artifact.key[:12],
        "documents/",
        "folio doctor --fix",
        "folio run tiny-play",
    )
    assert finding.repair is not None
    with try_lock(lock_of(artifact.path.parent, artifact.key)):
        assert "skipped the corpus artifact" in finding.repair() and artifact.path.is_dir()
    assert "moved the damaged corpus artifact" in finding.repair() and not artifact.path.exists()
    assert bad(store_health.artifacts(here, True)) == []
    the_only(store_health.set_aside(here), "warning", "1 artifact set aside", "folio gc")
    assert [one.action for one in plan(spec_of(play), here)][:2] == ["reuse", "run"]


def test_one_that_is_whole_again_is_left_where_it_is(here: Settings) -> None:
    artifact = artifact_of(here, "tiny-play", "tokens")
    file = next(artifact.path.rglob("*.parquet"))
    bytes_ = file.read_bytes()
    shorten(file)
    (finding,) = bad(store_health.artifacts(here))
    file.write_bytes(bytes_)
    assert finding.repair is not None and "is intact again" in finding.repair()
    assert artifact.path.is_dir()


def test_a_folder_without_a_manifest_is_damaged(here: Settings) -> None:
    artifact = artifact_of(here, "tiny-play", "tokens")
    (artifact.path / MANIFEST).write_text('{"files":')
    finding = the_only(
        store_health.artifacts(here), "problem", artifact.key[:12], "manifest.json: not JSON"
    )
    assert finding.repair is not None and finding.repair() and not artifact.path.exists()


def test_old_leftovers_go_and_what_a_run_could_go_on_from_stays(here: Settings) -> None:
    folder, keys = here.store.root / "model", [letter * 64 for letter in "abcdef"]

    def left(name: str, days: float) -> Path:
        (folder / name).mkdir()
        (folder / name / "half").write_bytes(bytes(500_000))
        return aged(folder / name, days)

    gone = [left(f".tmp-{keys[0]}", 2), left(f".work-{keys[1]}", 8)]
    stay = [left(f".tmp-{keys[2]}", 0.5), left(f".work-{keys[3]}", 3), left(f".tmp-{keys[4]}", 9)]
    stale_lock = lock_of(folder, keys[5])
    stale_lock.touch()
    aged(stale_lock, 2)
    with try_lock(lock_of(folder, keys[4])):
        finding = the_only(
            store_health.leftovers(here), "warning", "3 leftovers of killed runs", "1.0 MB"
        )
        assert finding.repair is not None
        assert finding.repair() == "removed 3 leftovers of killed runs"
        assert not any(path.exists() for path in (*gone, stale_lock))
        assert all(path.exists() for path in stay)
        assert list(store_health.leftovers(here)) == []


def test_a_record_that_is_cut_short_is_named(here: Settings) -> None:
    path = here.runs.folder / "20260101-000000-tiny-play-beef.json"
    path.write_text('{"run": "2026')
    the_only(store_health.records(here), "warning", str(path), "not listed", "--fix")


def test_a_run_that_takes_more_than_a_day_is_told(here: Settings) -> None:
    code = (
        "import sys; from pathlib import Path; from pipelines.store.live_runs import living\n"
        "with living(Path(sys.argv[1]), {'run': 'long', 'started': '2026-01-01T00:00:00Z'}):\n"
        "    print(flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(here.runs.folder)],
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline()
    the_only(
        store_health.records(here),
        "warning",
        "run long has been active since 2026-01-01 00:00",
        f"kill {process.pid}",
    )
    process.communicate()


@pytest.mark.long
@pytest.mark.slow
def test_each_backend_is_asked_for_a_gpu() -> None:
    found = {finding.text.split()[0]: finding for finding in machine_health.gpu(ask=True)}
    sees = training_device("tensorflow", "any", print) == "gpu"
    assert found["tensorflow"].text.startswith(
        f"tensorflow sees {'a' if sees else 'no'} GPU"
    ) and not json.dumps([finding.as_json() for finding in found.values()]).count("problem")
