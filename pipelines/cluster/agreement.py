"""Whether a worker would write the same bytes: its Folio and its libraries are compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

from pipelines.files.digests import digest_file, digest_json
from pipelines.files.home import PROJECT
from pipelines.stages import stage_named
from pipelines.store.fingerprint import code_of, library_version

SHARDED = ("corpus", "tokens", "batches")  # the stages that are made of steps
Description = dict[str, dict[str, str]]


@cache
def described() -> Description:
    """The code and the libraries that shape the bytes of the data stages, as this process has
    them: {"code": {file: digest}, "libraries": {name: version}}."""
    stages = [stage_named(name) for name in SHARDED]
    code = {file for stage in stages for file in code_of(stage.module)}
    libraries = {name for stage in stages for name in stage.libraries}
    return {
        "code": {name: digest_file(PROJECT / name) for name in sorted(code)},
        "libraries": {name: library_version(name) for name in sorted(libraries)}
        | {"python": ".".join(map(str, sys.version_info[:2]))},
    }


@cache
def fingerprint() -> str:
    """Of the description: what is sent with each step."""
    return digest_json(described())


def difference(worker: str, theirs: Mapping[str, Any]) -> str | None:
    """What differs on a worker, in one line; None if nothing does."""
    ours = described()
    for name, version in ours["libraries"].items():
        found = theirs["libraries"].get(name, "not installed")
        if found != version:
            return (
                f"worker {worker} has {name} {found}, and {version} is here; install the same "
                "version there"
            )
    files = [name for name, digest in ours["code"].items() if theirs["code"].get(name) != digest]
    if not files:
        return None
    more = f" and {len(files) - 1} more files are" if len(files) > 1 else " is"
    return (
        f"worker {worker} has another Folio: {files[0]}{more} not as here; install the same there"
    )
