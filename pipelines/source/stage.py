"""The source stage: raw files, byte for byte, from a mirror, an address or a local folder; or the
records of a TensorFlow dataset (tfds.py).

Each file of `source.url` is looked for in the mirror first, then at its address (locations.py). In
the artifact, its name is the last part of that address. If the declaration lists SHA-256 digests, a
file is accepted only if it has one of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.declaration.spec import SourceSpec
from pipelines.errors import FolioError, UnreachableError
from pipelines.files.names import unsafe
from pipelines.network.addresses import shown
from pipelines.network.credentials import resolved
from pipelines.network.http_answers import MissingError
from pipelines.source.download import (
    copy,
    delete_partial,
    download,
    is_complete,
    packing_of,
    version_fetched,
)
from pipelines.source.locations import (
    Place,
    file_names,
    from_first,
    mirrored,
    places,
    refuse_reserved,
)
from pipelines.source.object_stores import fetch, is_object_store
from pipelines.source.own_folders import matched
from pipelines.source.received import refuse_page, unpack
from pipelines.source.tfds import write_records
from pipelines.store.artifacts import Artifact, Workspace

# Where TFDS keeps datasets that take long to prepare, in the layout of its data_dir.
PUBLISHED = "https://storage.googleapis.com/tfds-data/datasets"


def build(
    inputs: Mapping[str, Artifact], config: dict[str, Any], work: Workspace
) -> dict[str, Any]:
    """Write the raw files to work.out.

    Returns {"files", "bytes", "origins": {name: {"from", "address", "bytes", "sha256"}}}, and for
    files of `source.url` the "version" at its origin when it was fetched. A local folder is one
    origin with the number of its "files", as the manifest lists their digests; so is a TFDS dataset
    (see pipelines.source.tfds.write_records). Raises UsageError on an invalid address,
    UnreachableError if a place did not answer or `offline` is set, FolioError on refusals, wrong
    bytes and too large files.
    """
    source: SourceSpec = config["source"]
    if source.path:
        return _own(Path(source.path), source, work)
    if source.tfds:
        return write_records(source.tfds, source, work, partial(_published, source, work))
    named = file_names(source.url)
    origins = {name: _fetch(name, url, source, work) for name, url in named.items()}
    for name in named:
        _part(name, work).replace(work.out / name)
    return _counts(origins, len(named))


def _counts(origins: dict[str, dict[str, Any]], files: int) -> dict[str, Any]:
    size = sum(origin["bytes"] for origin in origins.values())
    return {"files": files, "bytes": size, "origins": origins}


def _part(name: str, work: Workspace) -> Path:
    return work.scratch / f"{name}.part"


def _fetch(name: str, url: str, source: SourceSpec, work: Workspace) -> dict[str, Any]:
    """Fetch one file to its `.part`, from the first place that has it; returns that place."""
    try:
        return _from_first(places(name, url, work.mirror), name, source, work)
    except (MissingError, UnreachableError) as failure:
        advice = f"get {name} some other way and give --mirror DIR with it"
        if isinstance(failure, MissingError):
            advice = f"fix source.url, or {advice}"
        elif work.offline:
            advice += ", or leave out --offline"
        else:
            advice = f"check the network, or {advice}"
        raise type(failure)(f"{failure}; {advice}") from failure


def _published(source: SourceSpec, work: Workspace, name: str, public: bool) -> Path:
    """A file of a prepared dataset, named as in a TFDS data_dir: its `.part`."""
    if reason := unsafe(name):  # the name comes from a downloaded file
        raise FolioError(
            f"source.tfds: a file of the dataset has the name {name!a}, which {reason}"
        )
    url = f"{PUBLISHED}/{quote(name)}"
    candidates = [mirrored(name, work.mirror)] if work.mirror else []
    if public:
        candidates.append(Place("public address", url))
    if not candidates:
        raise MissingError(f"{name}: not published")
    _part(name, work).parent.mkdir(parents=True, exist_ok=True)
    _from_first(candidates, name, source, work)
    return _part(name, work)


def _from_first(
    candidates: list[Place], name: str, source: SourceSpec, work: Workspace
) -> dict[str, Any]:
    return from_first(
        candidates,
        lambda place: _bring(name, place, source, work),
        lambda text: work.progress(0, None, text),
    )


def _bring(name: str, place: Place, source: SourceSpec, work: Workspace) -> dict[str, Any]:
    part, version = _part(name, work), ""

    def report(done: int, total: int | None) -> None:
        work.progress(done, total, f"bytes of {name}")

    if isinstance(place.address, Path):
        copy(place.address, part, source, report)
    elif work.offline:
        raise UnreachableError(f"{shown(place.address)}: --offline forbids downloading it")
    elif is_object_store(place.address):
        version = fetch(resolved(place.address), part, source, report)
    else:
        url = resolved(place.address)
        if not (is_complete(part, url) and _digest(part) in _accepted(source)):
            download(url, part, source, report)
        _open_up(part, name, shown(place.address), source)
        version = version_fetched(part)
    digest = _proved(part, place, source)
    version = place.version(version or f"SHA-256 {digest}")
    return _origin(place.kind, place.address, part, digest) | {"version": version}


def _open_up(part: Path, name: str, where: str, source: SourceSpec) -> None:
    """Make what a server sent the file itself, unless its bytes were declared."""
    if source.sha256 and _digest(part) in _accepted(source):
        return
    unpack(part, name, where, packing_of(part), source.max_bytes)
    if not (source.sha256 and _digest(part) in _accepted(source)):
        refuse_page(part, name, where)


def _origin(kind: str, address: str | Path, file: Path, digest: str) -> dict[str, Any]:
    return {"from": kind, "address": shown(address), "bytes": file.stat().st_size, "sha256": digest}


def _accepted(source: SourceSpec) -> list[str]:
    return [digest.lower() for digest in source.sha256]


def _digest(path: Path) -> str:
    from pooch import file_hash

    return file_hash(str(path), alg="sha256")


def _proved(part: Path, place: Place, source: SourceSpec) -> str:
    """The file's digest. A file that is not accepted is kept as `.bad` for inspection."""
    digest = _digest(part)
    if not source.sha256 or digest in _accepted(source):
        return digest
    bad = part.with_suffix(".bad")
    part.replace(bad)
    delete_partial(part)
    raise FolioError(
        f"{_wrong(place.address, digest, source)}; kept as {bad}: inspect it, then fix "
        "source.sha256 or the source"
    )


def _wrong(address: str | Path, digest: str, source: SourceSpec) -> str:
    return (
        f"{shown(address)}: wrong checksum: SHA-256 is {digest}, expected "
        f"{' or '.join(_accepted(source))}"
    )


def _own(path: Path, source: SourceSpec, work: Workspace) -> dict[str, Any]:
    """Copy a local file, folder, or the files that a pattern matches, keeping the names."""
    if pattern := matched(path):
        files = dict(_checked(*pattern))
    else:
        files = {path.name: path} if path.is_file() else dict(_tree(path))
    total, done = sum(file.stat().st_size for file in files.values()), 0
    for name, file in files.items():
        refuse_reserved(name, str(file))
        target = work.out / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        if source.sha256 and (digest := _digest(target)) not in _accepted(source):
            raise FolioError(f"{_wrong(file, digest, source)}; fix source.sha256 or the file")
        done += target.stat().st_size
        work.progress(done, total, f"bytes of {path.name}")
    if path.is_file():
        copied = work.out / path.name
        return _counts({path.name: _origin("path", path, copied, _digest(copied))}, 1)
    folder = {"from": "path", "address": str(path), "files": len(files), "bytes": done}
    return _counts({path.name: folder}, len(files))


def _tree(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name in the folder, file) of every file in it; rejects what cannot be copied as a file."""
    if not folder.is_dir():
        raise FolioError(f"{folder}: no such file or folder; fix source.path")
    empty = True
    for parent, folders, names in os.walk(folder, onerror=_raise):
        for name in folders + names:
            path = Path(parent, name)
            _refuse_link(path, folder)
            if path.is_dir():
                continue  # visited separately
            if not path.is_file():
                raise FolioError(f"{path}: neither a file nor a folder; remove it from {folder}")
            empty = False
            yield str(path.relative_to(folder)), path
    if empty:
        raise FolioError(f"{folder}: contains no files; fix source.path")


def _checked(folder: Path, files: list[Path]) -> Iterator[tuple[str, Path]]:
    for path in files:
        _refuse_link(path, folder)
        yield str(path.relative_to(folder)), path


def _refuse_link(path: Path, folder: Path) -> None:
    """Allows only links to files in the folder: other files were not declared as a source."""
    if not path.is_symlink():
        return
    target = Path(os.path.realpath(path))
    if not target.is_relative_to(os.path.realpath(folder)) or not target.is_file():
        raise FolioError(
            f"{path}: a link to {target}, which is not a file in {folder}; replace the "
            "link with the file, or remove it"
        )


def _raise(error: OSError) -> None:
    raise error
