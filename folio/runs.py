"""Runs pipelines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from folio.command import answer_of


def run(
    pipeline: str | PathLike[str],
    profile: str | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    until: str | None = None,
    backend: str | None = None,
    mirror: str | None = None,
    offline: bool = False,
    allow_sample: bool = False,
    with_upstream: bool = False,
    require_gpu: bool = False,
    cluster: str | None = None,
) -> dict[str, Any]:
    """Retrain a pipeline as `folio run` does, and return the record that `folio show` shows.

    `pipeline` is a name of the catalog, or the path of a declaration. `settings` are what `--set`
    changes: {"training.epochs": 2}. `until` names the last stage to run. The other arguments are
    the command's options. Raises FolioError, with one line, if the run fails; UsageError if it
    could not start.
    """
    given = {"--profile": profile, "--until": until, "--backend": backend, "--cluster": cluster}
    flags = {
        "--offline": offline,
        "--allow-sample": allow_sample,
        "--with-upstream": with_upstream,
        "--require-gpu": require_gpu,
    }
    arguments = ["run", fspath(pipeline), *(flag for flag, wanted in flags.items() if wanted)]
    for option, value in given.items():
        arguments += [option, value] if value else []
    for key, own in (settings or {}).items():
        arguments += ["--set", f"{key}={json.dumps(own)}"]
    return answer_of(arguments, mirror)[-1]
