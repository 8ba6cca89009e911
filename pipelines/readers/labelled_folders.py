"""The reader of labelled folders: aclImdb's layout, or folders that are named as the labels.

Texts are in tar archives, in zip archives or plain. Which of the two layouts a source has is known
only once all its files are looked through: if there is nothing in aclImdb's, they are read again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator
from functools import lru_cache, partial

from pipelines.declaration.data_sections import TEST, TRAIN, UNLABELLED
from pipelines.declaration.spec import CorpusSpec
from pipelines.errors import FolioError
from pipelines.readers.archives import LIMITS, read_members
from pipelines.readers.cleaning import composed, decoded, excerpt, without_tags
from pipelines.readers.documents import EMPTY, Document, Notes, source_paths, undecodable
from pipelines.readers.file_names import JUNK, is_junk
from pipelines.readers.packed import ZIP, File, is_zip, zip_files
from pipelines.store.artifacts import Artifact

LABELLED, NAMED = "labelled-folders", "named-folders"
ARCHIVES = (".tar", ".tar.gz", ".tgz")
FOLDER = re.compile(r"(?:(?P<home>.+)/)?(?P<part>train|test)(?:/(?P<label>pos|neg|unsup))?")
FILM_LIST = re.compile(r"urls_(pos|neg)\.txt")
NUMBERED = re.compile(r"(.+)/(\d+)_\d+")
FILM = re.compile(r"tt\d+")  # IMDb's title number in a film's address
Wanted = Callable[[str], bool]  # of a file's path


def labelled_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[File]:
    return _files(source, _in_folders(spec), notes)


def named_files(source: Artifact, spec: CorpusSpec, notes: Notes) -> list[File]:
    return _files(source, _in_named_folders(spec), notes)


def _files(source: Artifact, wanted: Wanted, notes: Notes) -> list[File]:
    """All files of the source: archives, or plain."""
    paths, found = source_paths(source, notes), []
    for path in paths:
        name, alone = path.relative_to(source.path).as_posix(), len(paths) == 1
        if name.endswith(".zip") or (alone and is_zip(path)):
            packing: str | None = ZIP
        elif name.endswith(ARCHIVES) or (alone and not wanted(name)):
            packing = "tar"
        else:
            packing = None
        found.append(File(name, path, packing))
    return found


def _in_folders(spec: CorpusSpec) -> Wanted:
    every = spec.split == "within-train" or spec.unlabelled
    return partial(_is_of_use, labels=("pos", "neg", "unsup") if every else ("pos", "neg"))


def _in_named_folders(spec: CorpusSpec) -> Wanted:
    labels = set(spec.labels or ())

    def wanted(path: str) -> bool:
        named = composed(path.rpartition("/")[0].rpartition("/")[2]) in labels
        return named and path.endswith(".txt") and not is_junk(path)

    return wanted


def read_labelled_folders(
    files: Iterable[File], spec: CorpusSpec, notes: Notes
) -> Iterator[Document]:
    seen: set[str] = set()
    for path, data in _contents(files, _in_folders(spec), notes):
        folder, _, name = path.rpartition("/")
        place = _folder(folder)
        if data is None or place is None or (spec.unlabelled and folder.endswith("test/unsup")):
            notes.ignored[_why_ignored(place, path)] += 1
        elif place["label"] is None:
            addresses = data.decode(errors="replace").splitlines()
            notes.films[f"{place['part']}/{name[5:8]}"] = [_film(line) for line in addresses]
        else:
            notes.found_in(place["home"])
            review = _review(name.removesuffix(".txt"), data, place, spec)
            if review.id in seen:
                raise two_named(review.id)
            seen.add(review.id)
            yield review


def read_named_folders(files: Iterable[File], spec: CorpusSpec, notes: Notes) -> Iterator[Document]:
    """Texts in folders that are named as the labels, also below `train` and `test`."""
    numbers = {label: float(number) for number, label in enumerate(spec.labels or ())}
    for path, data in _contents(files, _in_named_folders(spec), notes):
        if data is None:
            notes.ignored[_why_ignored(None, path)] += 1
            continue
        notes.found_in("")
        *above, folder, _ = path.split("/")
        part = next((name for name in (TRAIN, TEST) if name in above), None)
        yield _labelled(path, data, numbers[composed(folder)], part, spec)


def nothing_in(source: Artifact) -> FolioError:
    return FolioError(
        f"{source_paths(source, Notes())[0].name}: contains no train/pos/*.txt, "
        "train/neg/*.txt, test/…, nor texts in folders named as corpus.labels; reader "
        "labelled-folders needs one of these, as plain folders or in a .tar.gz or .zip"
    )


def two_named(name: str) -> FolioError:
    return FolioError(f"the source has two documents named {name}; keep one of them")


@lru_cache(64)
def _folder(path: str) -> dict[str, str | None] | None:
    """What a folder's name means for its files: home, part and label."""
    found = FOLDER.fullmatch(path)
    return found.groupdict() if found else None


def _is_of_use(path: str, labels: Container[str | None]) -> bool:
    """Whether it is a review in a folder of `labels`, or a list of films."""
    folder, _, name = path.rpartition("/")
    place = _folder(folder)
    if place is None or not name.endswith(".txt") or is_junk(path):
        return False
    return place["label"] in labels or (
        place["label"] is None and FILM_LIST.fullmatch(name) is not None
    )


def is_labelled(path: str) -> bool:
    """Whether a file with this path is a text of the labelled folders."""
    place = _folder(path.rpartition("/")[0])
    is_text = path.endswith(".txt") and not is_junk(path)
    return is_text and place is not None and place["label"] in ("pos", "neg")


def _why_ignored(place: dict[str, str | None] | None, path: str) -> str:
    if is_junk(path):
        return JUNK
    if place and place["label"] == "unsup" and path.endswith(".txt"):
        return f"{place['part']}/unsup (not labelled)"
    return "other files"


def _contents(
    files: Iterable[File], wanted: Wanted, notes: Notes
) -> Iterator[tuple[str, bytes | None]]:
    """(name, content if it is wanted) of all files, in archives or plain."""
    for file in files:
        if file.packing == ZIP:
            yield from _zipped(file, wanted, notes)
        elif file.packing is not None:
            yield from read_members(file.path, wanted)
        elif not wanted(file.name):
            yield file.name, None
        elif file.path.stat().st_size > LIMITS.member:
            raise FolioError(
                f"{file.name}: more than {LIMITS.member:,} bytes, too long for a review"
            )
        else:
            yield file.name, file.path.read_bytes()


def _zipped(archive: File, wanted: Wanted, notes: Notes) -> Iterator[tuple[str, bytes | None]]:
    for file in zip_files(archive.path, archive.name, notes.ignored):
        if not wanted(file.name):
            yield file.name, None
            continue
        with file.open() as stream:
            data = stream.read(LIMITS.member + 1)
        if len(data) > LIMITS.member:
            raise FolioError(
                f"{archive.name}: {file.name}: more than {LIMITS.member:,} bytes, too long"
            )
        yield file.name, data


def _film(address: str) -> str:
    found = FILM.search(address)
    return found[0] if found else address.strip()


def _review(name: str, data: bytes, place: dict[str, str | None], spec: CorpusSpec) -> Document:
    part, folder = place["part"], place["label"]
    name, label = f"{part}/{folder}/{name}", float(folder == "pos") if spec.labelled else None
    if spec.labelled and folder == "unsup":
        label, part = None, UNLABELLED
    return _labelled(name, data, label, part, spec)


def _labelled(
    name: str, data: bytes, label: float | None, part: str | None, spec: CorpusSpec
) -> Document:
    text = decoded(data, spec.encoding)
    if text is None:
        return Document(name, excerpt(data, spec.encoding), label, None, part, undecodable(spec))
    text = without_tags(text)
    return Document(name, text, label, None, part, None if text.strip() else EMPTY)


def film_of(document: str, films: dict[str, list[str]]) -> str | None:
    """The film of review `train/pos/12_9`: line 12, from 0, of `train/urls_pos.txt`.

    None if the line is blank; FolioError if there is no such line.
    """
    numbered = NUMBERED.fullmatch(document)
    if numbered is None:
        raise FolioError(
            f"{document}.txt: corpus.group film requires names like 12_9.txt; rename the "
            "file or remove corpus.group"
        )
    folder, line = numbered[1], int(numbered[2])
    listed = films.get(folder, [])
    if line >= len(listed):
        where = folder.replace("/", "/urls_") + ".txt"
        raise FolioError(
            f"{document}.txt: corpus.group film needs line {line + 1} of {where}, which "
            f"has {len(listed)}; add the list or remove corpus.group"
        )
    return listed[line] or None
