"""Where to find the files of `source.url`: first in the mirror, then at their address.

Only valid addresses are accepted; a local folder or file: address is a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pipelines.errors import FolioError, UnreachableError, UsageError
from pipelines.files.names import refuse_not_utf8, unsafe
from pipelines.network.addresses import is_certain, shown
from pipelines.network.http_answers import UNNAMED, MissingError
from pipelines.source.object_stores import PACKAGES
from pipelines.store.artifacts import MANIFEST

SCHEMES = ("http", "https", "file")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Place:
    """Where to find a file: a local Path, or an address."""

    kind: str  # "mirror dir", "mirror url" or "public address"
    address: str | Path  # with references to secrets as declared, see credentials

    def version(self, said: str) -> str:
        """`said` as the version of the file; versions of different servers are not comparable."""
        if self.kind != "mirror url" or said == UNNAMED:
            return said
        return f"{said} at {shown(self.address)}"


def file_names(urls: tuple[str, ...]) -> dict[str, str]:
    """{file name: its address}; rejects addresses without a file name or with the same one."""
    named: dict[str, str] = {}
    for url in urls:
        name = unquote(_path_of(url).rpartition("/")[2])
        if "/" in name or unsafe(name):
            raise UsageError(
                f"source.url {shown(url)}: does not end in a file name; give the address of a file"
            )
        refuse_reserved(name, f"source.url {shown(url)}")
        if name in named:
            raise UsageError(
                f"source.url: {shown(named[name])} and {shown(url)} end in the same name; "
                "one file would overwrite the other"
            )
        named[name] = url
    return named


def refuse_reserved(name: str, where: str) -> None:
    """Raises UsageError for a name that is not allowed in an artifact."""
    if reason := unsafe(name):
        raise UsageError(f"{where}: its name {reason}; rename the file")
    if name == MANIFEST:
        raise UsageError(f"{where}: the name {MANIFEST} is reserved for the store; rename the file")


def places(name: str, url: str, mirror: str | None) -> list[Place]:
    """Where to look for the file `name` of address `url`, in this order."""
    public = Place("public address", _local(url) or url)
    return [mirrored(name, mirror), public] if mirror else [public]


def mirrored(name: str, mirror: str) -> Place:
    """The file's location in a mirror, which is a folder or an address."""
    folder = _local(mirror) if "://" in mirror else Path(mirror).expanduser()
    if folder is None:
        path = f"{_path_of(mirror).rstrip('/')}/{quote(name)}"
        return Place("mirror url", urlunsplit(urlsplit(mirror)._replace(path=path)))
    if not folder.is_dir():
        raise UsageError(f"--mirror {folder}: no such folder")
    refuse_not_utf8(folder, "--mirror")
    return Place("mirror dir", folder / name)


def from_first(
    candidates: Iterable[Place],
    use: Callable[[Place], Found],
    tell: Callable[[str], None] = lambda text: None,
) -> Found:
    """What `use` returns for the first place that has the file. Raises the last place's error."""
    failures: list[FolioError] = []
    for place in candidates:
        if failures:
            tell(f"{failures[-1]}; trying {shown(place.address)}")
        try:
            return use(place)
        except (MissingError, UnreachableError) as failure:
            failures.append(failure)
    raise type(failures[-1])("; ".join(map(str, failures)))


def _path_of(url: str) -> str:
    """The path of a well-formed address, still percent-encoded."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # the cause may be a misplaced password, so nothing is quoted
        raise UsageError(
            "source.url or --mirror: an address is malformed; write it like "
            "https://host/folder/file"
        ) from None
    if not is_certain(url) and "://" in url:
        raise UsageError(
            f"{shown(url)}: an address has an @, a space or the like where it is not "
            "allowed; in user, password and path write %40 for @, %2F for /, %3F for ?, "
            "%23 for #, %20 for a space"
        )
    if parts.scheme not in (*SCHEMES, *PACKAGES):
        known = ", ".join((*SCHEMES, *PACKAGES))
        raise UsageError(f"{shown(url)}: only {known} addresses can be fetched")
    local = parts.scheme == "file"
    if local and not (parts.netloc in ("", "localhost") and parts.path.startswith("/")):
        raise UsageError(f"{shown(url)}: is not a file on this machine; write file:///folder/file")
    if not local and not host:
        raise UsageError(f"{shown(url)}: has no host; write it like https://host/folder/file")
    if "${" in parts.path:
        raise UsageError(
            f"{shown(url)}: only user, password and query can be references such as "
            "${NAME}; the parts that select the file must be declared"
        )
    return parts.path


def _local(url: str) -> Path | None:
    """The path of a file: address."""
    path = _path_of(url)
    return Path(unquote(path)) if urlsplit(url).scheme == "file" else None
