"""An active run notes how far it is; nothing of it stays, and nothing of it stops the run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.store import live_progress
from pipelines.store.live_progress import noted, progress_of
from pipelines.store.live_runs import living, progress_file

RUN = "20260101-000000-tiny-abcdef"
RECORD = {"run": RUN, "pipeline": "tiny", "started": "2026-01-01T00:00:00Z"}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(live_progress.time, "monotonic", lambda: now[0])
    return now


def test_it_is_kept_while_the_run_is_active(tmp_path: Path, clock: list[float]) -> None:
    said = []
    with living(tmp_path, RECORD):
        note = noted(tmp_path, RUN, "model", lambda *given: said.append(given))
        found = progress_of(tmp_path, RUN)
        assert (found["stage"], found["done"], found["total"], found["unit"]) == (
            *("model", 0, None, ""),
        )
        note(10, 100, "steps · epoch 1/2 · loss 3.000")
        clock[0] += 1
        note(20, 100, "steps · epoch 1/2 · loss 2.500")  # too soon to write
        assert progress_of(tmp_path, RUN)["done"] == 10
        clock[0] += 4
        note(60, 100, "steps · epoch 2/2 · loss 2.000")
        found = progress_of(tmp_path, RUN)
        assert found["done"] == 60 and found["unit"] == "steps · epoch 2/2 · loss 2.000"
        assert found["left"] == pytest.approx(40 / 10)  # 50 steps in 5 seconds
    assert progress_of(tmp_path, RUN) is None and not list(tmp_path.rglob("*.progress"))
    assert [given[0] for given in said] == [10, 20, 60]


def test_another_unit_has_a_rate_of_its_own(tmp_path: Path, clock: list[float]) -> None:
    with living(tmp_path, RECORD):
        note = noted(tmp_path, RUN, "corpus", lambda *given: None)
        note(500, 1000, "documents")
        clock[0] += 9
        note(1, 10, "shards")
        assert progress_of(tmp_path, RUN)["left"] is None
        clock[0] += 3
        note(4, 10, "shards")
        assert progress_of(tmp_path, RUN)["left"] == pytest.approx(6)


def test_without_a_place_to_write_the_run_goes_on(tmp_path: Path) -> None:
    said = []
    noted(tmp_path / "no folder", RUN, "model", lambda *given: said.append(given))(1, 2, "steps")
    assert said == [(1, 2, "steps")] and progress_of(tmp_path / "no folder", RUN) is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"stage": 1}', json.dumps({"stage": "m", "unit": "", "at": ""})]
)
def test_what_is_not_progress_is_none(text: str, tmp_path: Path) -> None:
    path = progress_file(tmp_path, RUN)
    path.parent.mkdir()
    path.write_text(text)
    assert progress_of(tmp_path, RUN) is None
