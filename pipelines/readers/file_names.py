"""Names of files, also in archives: which are safe, which are no documents, which match a glob."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from pipelines.errors import FolioError

JUNK = "files of the system (such as .DS_Store)"
JUNK_FILES = {".DS_Store", "Thumbs.db", "desktop.ini"}
JUNK_FOLDERS = {"__MACOSX", ".ipynb_checkpoints"}
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
DRIVE = re.compile(r"[A-Za-z]:")
GLOB = re.compile(r"(\*\*/)|(\*+)|(\?)|(\[!?[^]]+\])|(.)", re.DOTALL)


def is_junk(name: str) -> bool:
    """Whether a file with this path was added by a system or an editor: it is no document."""
    folder, _, file = name.rpartition("/")
    return file.startswith("._") or file in JUNK_FILES or _of_junk(folder)


@lru_cache(1000)
def _of_junk(folder: str) -> bool:
    return not JUNK_FOLDERS.isdisjoint(folder.split("/"))


def matcher(glob: str) -> re.Pattern[str]:
    """Matches the whole paths that `glob` means, in any case (ONE.TXT): `**/` is any folders or
    none."""
    parts = []
    for folders, stars, one, chosen, other in GLOB.findall(glob):
        if chosen:
            parts.append(f"[^{chosen[2:]}" if chosen.startswith("[!") else chosen)
        elif stars:
            parts.append("[^/]*" if stars == "*" else ".*")
        else:
            parts.append("(?:[^/]+/)*" if folders else "[^/]" if one else re.escape(other))
    return re.compile("".join(parts), re.IGNORECASE)


def plain_name(archive: Path, name: str) -> str:
    """The relative name of an archive's member, or FolioError."""
    if name.startswith("/") or DRIVE.match(name):
        raise refusal(archive, name, "has an absolute name")
    if UNPRINTABLE.search(name):
        raise refusal(archive, repr(name), "has a backslash or control character in its name")
    if ".." in name and ".." in name.split("/"):
        raise refusal(archive, name, "leads out of its folder by ..")
    if "//" in name or "./" in name:
        return "/".join(part for part in name.split("/") if part not in ("", ".")) or "."
    return name


def refusal(archive: Path, member: str, why: str) -> FolioError:
    return FolioError(
        f"{archive.name}: member {member[:200]} {why}; refused. Fetch the archive from "
        "its publisher, or repack it as plain files"
    )
