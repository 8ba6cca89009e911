"""Which artifacts each home needs in the shared store, so that `folio gc` of another leaves them.

homes/<id>.json    {"host", "keeps": {stage: [keys]}, "expires": seconds since 1970}

A home writes its list whenever it shares or takes something, and at each `folio gc`. A list that
was not renewed no longer counts: that home has copies of its own.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path

from pipelines.errors import UnreadableError
from pipelines.files.small_files import parse_object
from pipelines.shared.place import Place

HOMES = "homes"
VALID_DAYS = 30
Keeps = Mapping[str, Collection[str]]  # {stage: keys}
Lists = Mapping[str, tuple[float, set[tuple[str, str]]]]  # as `lists` gives them


def list_name(root: Path) -> str:
    """The name of the list of the home whose artifacts are in `root`."""
    who = f"{socket.gethostname()}:{root.resolve()}"
    return f"{HOMES}/{sha256(who.encode()).hexdigest()[:16]}.json"


def announce(place: Place, root: Path, keeps: Keeps) -> None:
    """Write the list of the home whose artifacts are in `root`."""
    told = {
        "host": socket.gethostname(),
        "keeps": {stage: sorted(keys) for stage, keys in sorted(keeps.items())},
        "expires": time.time() + VALID_DAYS * 86_400,
    }
    place.write(list_name(root), json.dumps(told).encode())


def lists(place: Place) -> dict[str, tuple[float, set[tuple[str, str]]]]:
    """{name: (when it expires, the (stage, key) that are kept)} of all homes. Raises
    UnreadableError for one that is not valid."""
    found = {}
    for name in place.names(HOMES):
        data = place.read(name)
        if data is None:
            continue  # just deleted
        told = parse_object(data, name, keeps=dict, expires=(int, float))
        if not all(isinstance(keys, list) for keys in told["keeps"].values()):
            raise UnreadableError(f"{name}: its 'keeps' are not lists")
        kept = {(stage, str(key)) for stage, keys in told["keeps"].items() for key in keys}
        found[name] = float(told["expires"]), kept
    return found


def needed(lists: Lists, now: float) -> set[tuple[str, str]]:
    """What the lists that are still valid at a time name."""
    return {one for expires, keys in lists.values() if expires > now for one in keys}
