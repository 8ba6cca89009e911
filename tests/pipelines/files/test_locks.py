"""Who holds a file, and who waits for it."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.files.locks import is_locked, locked, share, try_lock


def test_a_lock_that_is_shared_is_none_that_is_held_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        assert is_locked(path) and is_locked(path, alone=True) and try_lock(path) is None
    assert not is_locked(path) and not is_locked(tmp_path / "none", alone=True)
    held = share(path)
    assert is_locked(path) and not is_locked(path, alone=True)
    os.close(held)
    assert not is_locked(path)
