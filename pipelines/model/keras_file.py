"""`.keras` files whose bytes depend only on the model.

Keras writes the date into the file's metadata and the zip entries, and memory addresses into its
configuration. All are fixed here, so equal models are equal files.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import DamagedError

if TYPE_CHECKING:
    import keras

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date in a zip file


def save_model(model: keras.Model, path: Path) -> None:
    draft = path.with_name(f"draft-{path.name}")
    model.save(draft)
    with zipfile.ZipFile(draft) as read, zipfile.ZipFile(path, "w") as write:
        for name in sorted(read.namelist()):
            data = read.read(name)
            if name == "metadata.json":
                metadata = {k: v for k, v in json.loads(data).items() if k != "date_saved"}
                data = json.dumps(metadata, sort_keys=True).encode()
            elif name == "config.json":
                data = _numbered(data)
            write.writestr(zipfile.ZipInfo(name, EPOCH), data)
    draft.unlink()


def _numbered(config: bytes) -> bytes:
    """Shared objects by their order of appearance, instead of their addresses."""
    seen: dict[bytes, int] = {}
    return re.sub(
        rb'(?<="shared_object_id": )\d+',
        lambda match: b"%d" % seen.setdefault(match[0], len(seen)),
        config,
    )


def load_model(path: Path) -> keras.Model:
    """Load without running code from the file (Keras safe mode), and without using more memory than
    its size allows. Raises DamagedError if it is not a model, or claims more than it holds."""
    import keras

    import pipelines.model.cells  # noqa: F401  registers the cells that are not Keras's own
    from pipelines.model.keras_bounds import check

    try:
        check(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except FileNotFoundError as error:
        raise DamagedError(f"{path}: is missing") from error
    except DamagedError as error:
        raise DamagedError(f"{path}: not a Keras model: {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # zipfile, HDF5 and Keras raise many kinds of errors
        raise DamagedError(f"{path}: not a Keras model ({type(error).__name__})") from error
