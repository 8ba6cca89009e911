"""MLflow's SQLite database, made whole or not at all.

MLflow makes it by some seventy migrations. Cut short, by a kill or a full disk, they leave tables
behind over which every later try stumbles.
"""

from __future__ import annotations

from pathlib import Path


def make_database(path: Path) -> None:
    """Make an empty database at `path` unless there is one; by one caller at a time."""
    if path.exists():
        return
    from mlflow.store.db import utils

    new = path.with_name(f".new-{path.name}")
    new.unlink(missing_ok=True)
    engine = utils.create_sqlalchemy_engine_with_retry(f"sqlite:///{new}")
    try:
        utils._initialize_tables(engine)
    finally:
        engine.dispose()
    if not path.exists():  # MLflow's own server may have made one meanwhile
        new.rename(path)
