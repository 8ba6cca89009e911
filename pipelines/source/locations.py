"""Where the files of `source.url` may be found: in the mirror first, then at their address.

Only addresses that can be right are let through; a local folder or file: address is a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pipelines.errors import FolioError, UnreachableError, UsageError
from pipelines.files.names import unsafe
from pipelines.network.addresses import is_certain, shown
from pipelines.network.http_answers import UNNAMED, MissingError
from pipelines.store.artifacts import MANIFEST

SCHEMES = ("http", "https", "file")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Place:
    """Where a file may be found: a local Path, or an http(s) address."""

    kind: str  # "mirror dir", "mirror url" or "public address"
    address: str | Path  # with references to secrets as they are declared, see credentials

    def version(self, said: str) -> str:
        """`said` as the version of the file; what one server says means nothing of another's."""
        if self.kind != "mirror url" or said == UNNAMED:
            return said
        return f"{said} at {shown(self.address)}"


def file_names(urls: tuple[str, ...]) -> dict[str, str]:
    """{file name: its address}, refusing addresses that name no file or the same one."""
    named: dict[str, str] = {}
    for url in urls:
        name = unquote(_path_of(url).rpartition("/")[2])
        if "/" in name or unsafe(name):
            raise UsageError(
                f"source.url {shown(url)}: its last part is no file name; give the "
                "address of a file"
            )
        refuse_reserved(name, f"source.url {shown(url)}")
        if name in named:
            raise UsageError(
                f"source.url: {shown(named[name])} and {shown(url)} end in the same "
                "name; one file would replace the other"
            )
        named[name] = url
    return named


def refuse_reserved(name: str, where: str) -> None:
    """Raises UsageError for a name that no file of an artifact may have."""
    if reason := unsafe(name):
        raise UsageError(f"{where}: its name {reason}; rename the file")
    if name == MANIFEST:
        raise UsageError(f"{where}: the name {MANIFEST} is the store's own; rename the file")


def places(name: str, url: str, mirror: str | None) -> list[Place]:
    """Where the file `name` of address `url` is looked for, in this order."""
    public = Place("public address", _local(url) or url)
    return [mirrored(name, mirror), public] if mirror else [public]


def mirrored(name: str, mirror: str) -> Place:
    """The file's place in a mirror, which is a folder or an address."""
    folder = _local(mirror) if "://" in mirror else Path(mirror).expanduser()
    if folder is None:
        path = f"{_path_of(mirror).rstrip('/')}/{quote(name)}"
        return Place("mirror url", urlunsplit(urlsplit(mirror)._replace(path=path)))
    if not folder.is_dir():
        raise UsageError(f"--mirror {folder}: no such folder")
    return Place("mirror dir", folder / name)


def from_first(
    candidates: Iterable[Place],
    use: Callable[[Place], Found],
    tell: Callable[[str], None] = lambda text: None,
) -> Found:
    """What `use` makes of the first place that has the file. Raises as the last one did."""
    failures: list[FolioError] = []
    for place in candidates:
        if failures:
            tell(f"{failures[-1]}; going on to {shown(place.address)}")
        try:
            return use(place)
        except (MissingError, UnreachableError) as failure:
            failures.append(failure)
    raise type(failures[-1])("; ".join(map(str, failures)))


def _path_of(url: str) -> str:
    """The path of a well-formed address, still percent-coded."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # a password in the wrong place may be the cause: nothing is repeated
        raise UsageError(
            "source.url or --mirror: an address is malformed; write it like "
            "https://host/folder/file"
        ) from None
    if not is_certain(url) and "://" in url:
        raise UsageError(
            f"{shown(url)}: an address has an @, a blank or the like where none can "
            "be; in user, password and path write %40 for @, %2F for /, %3F for ?, "
            "%23 for #, %20 for a blank"
        )
    if parts.scheme not in SCHEMES:
        raise UsageError(f"{shown(url)}: only {', '.join(SCHEMES)} addresses can be fetched")
    local = parts.scheme == "file"
    if local and not (parts.netloc in ("", "localhost") and parts.path.startswith("/")):
        raise UsageError(f"{shown(url)}: names no file of this machine; write file:///folder/file")
    if not local and not host:
        raise UsageError(f"{shown(url)}: names no host; write it like https://host/folder/file")
    if "${" in parts.path:
        raise UsageError(
            f"{shown(url)}: only user, password and query may be references such as "
            "${NAME}: what decides which file is meant has to be declared"
        )
    return parts.path


def _local(url: str) -> Path | None:
    """The path that a file: address means."""
    path = _path_of(url)
    return Path(unquote(path)) if urlsplit(url).scheme == "file" else None
