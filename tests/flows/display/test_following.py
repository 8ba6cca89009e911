"""`folio runs --follow`: what a run of another process logs and how far it is, until it ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from flows.display.following import follow
from pipelines.store.live_progress import kept, lines_of, noted
from pipelines.store.live_runs import living
from pipelines.store.settings import Settings

RUN = "20260101-000000-tiny-abcdef"
RECORD = {
    "run": RUN,
    "pipeline": "tiny",
    "profile": "full",
    "sample": False,
    "started": "2026-01-01T00:00:00Z",
    "state": "done",
    "seconds": 1.0,
    "stages": [],
}


def test_each_epoch_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flows.display.following.LOOK_SECONDS", 0.01)
    settings, heard = Settings.at(tmp_path), []

    def run() -> None:
        with living(settings.runs.folder, RECORD):
            begun.set()
            log = kept(settings.runs.folder, RUN, heard.append)
            for epoch in (1, 2):
                noted(settings.runs.folder, RUN, "model", lambda *_: None)(epoch, 2, "steps")
                log(f"epoch {epoch}/2: loss 3")
                time.sleep(0.2)
            settings.runs.save(RECORD)

    begun = threading.Event()
    running = threading.Thread(target=run)
    running.start()
    begun.wait()
    assert follow(settings, "latest")["run"] == RUN
    running.join()
    shown = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch")]
    assert shown == heard == ["epoch 1/2: loss 3", "epoch 2/2: loss 3"]
    assert lines_of(settings.runs.folder, RUN) == []  # with the run, its notes are gone
    assert not list((settings.runs.folder / ".live").iterdir())
