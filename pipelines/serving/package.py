"""A model package: one folder with everything needed to use a model.

It contains `model.keras`, `model.json`, `vocabulary/`, `mix/` if the model is mixed with counting
(pipelines/mix/mixtures.py), and `package.json` (kind, how text becomes ids, how many tokens are
read at a time, the labels' names, the pipeline, whether it was trained on the sample text; and the
digests of all other files, so that changes are detected wherever the package is copied).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError

from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.section_base import MOST_LABELS
from pipelines.errors import DamagedError, FolioError, UsageError
from pipelines.files.digests import digest_file
from pipelines.files.names import unsafe
from pipelines.files.small_files import read_object
from pipelines.mix.mixtures import Mixture, read_mixture
from pipelines.tokens.vocabulary import Vocabulary, folder_digest

if TYPE_CHECKING:
    from pipelines.store.artifacts import Artifact

SETTINGS, DECLARED, MODEL, VOCABULARY = "package.json", "model.json", "model.keras", "vocabulary"
MIX = "mix"
INSTEAD = {"classifier": "use predict", "language_model": "use generate or next_tokens"}


class Cut(BaseModel):
    """How many tokens of a text are read, and which end is kept."""

    max_tokens: PositiveInt | None
    keep: Literal["first", "last"]


class Scaling(BaseModel):
    """The values of a Calibration (pipelines/stats/calibration.py)."""

    model_config = ConfigDict(allow_inf_nan=False)

    temperature: float = Field(1.0, gt=0)
    threshold: float = 0.5


class PackageSettings(BaseModel):
    """The contents of package.json; packages of earlier versions lack the fields with defaults."""

    pipeline: str
    kind: Literal["classifier", "language_model"]
    labels: list[str] = Field(min_length=2, max_length=MOST_LABELS)
    sample: bool
    tokens: Cut
    backend: Literal["tensorflow", "jax", "torch"]
    window: PositiveInt | None = None
    context: PositiveInt | None = None
    layout: Literal["documents", "rows", "lanes", "windows"] | None = None
    calibration: Scaling | None = None
    normal_form: Literal["NFC"] | None = None
    html_breaks: bool = False
    text_column: str | None = None
    mix: Literal["nb-svm", "n-gram"] | None = None
    files: dict[str, str] | None = None


def require_kind(pipeline: str, kind: str, wanted: str | None) -> None:
    """Raises UsageError if a model is of another kind than the wanted one."""
    if wanted and kind != wanted:
        raise UsageError(f"{pipeline} is a {kind.replace('_', ' ')}: {INSTEAD[kind]}")


@dataclass(frozen=True)
class Package:
    """A package, read and checked, except for the model itself."""

    settings: PackageSettings
    spec: ModelSpec
    vocabulary: Vocabulary
    model: Path
    mixture: Mixture | None = None

    @classmethod
    def read(cls, folder: Path) -> Package:
        """Raises DamagedError with the reason if it is not intact."""
        try:
            settings = PackageSettings.model_validate(read_object(folder / SETTINGS))
            if problem := _changes(folder, settings.files or {}):
                raise DamagedError(problem)
            declared = read_object(
                folder / DECLARED, model=dict, vocabulary_size=int, vocabulary_digest=str
            )
            spec = ModelSpec.model_validate(declared["model"])
            vocabulary = Vocabulary.load(folder / VOCABULARY)
            mixture = None
            if settings.mix is not None:
                mixture = read_mixture(folder / MIX, spec.kind, vocabulary.size)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise DamagedError(f"{error.title} {where}: {first['msg'].lower()}") from error
        except OSError as error:
            raise DamagedError(
                f"{error.filename or error}: {error.strerror or 'is missing'}"
            ) from error
        if spec.kind != settings.kind:
            raise DamagedError(f"{SETTINGS} says {settings.kind}, {DECLARED} {spec.kind}")
        if (vocabulary.size, folder_digest(folder / VOCABULARY)) != (
            declared["vocabulary_size"],
            declared["vocabulary_digest"],
        ):
            raise DamagedError("its vocabulary is not the one that the model was trained with")
        return cls(settings, spec, vocabulary, folder / MODEL, mixture)


@contextmanager
def complete(folder: Path) -> Iterator[None]:
    """Says what to do if the package in `folder`, read inside, is damaged. Raises FolioError."""
    try:
        yield
    except DamagedError as error:
        raise FolioError(
            f"{folder}: not a complete model package ({error}); fetch it again, or "
            "run the pipeline's release again"
        ) from error


def write_package(
    folder: Path,
    model: Artifact,
    tokens: Artifact,
    mix: Artifact | None = None,
    *,
    pipeline: str,
    labels: tuple[str, ...],
    sample: bool,
    measured: Mapping[str, Any],
    texts: Mapping[str, Any] | None = None,
) -> None:
    """Put a trained model, its vocabulary and what it is mixed with into `folder`, which must not
    exist yet.

    `measured` is the contents of metrics.json. The package keeps, for a language model, `window`
    (tokens of each window that it was trained on, if it was), `context` (tokens that it reads
    before the next one, if not all) and `layout` (of its test batches); for a classifier
    `calibration`. `texts` says how those it was trained on were read: `normal_form`, `html_breaks`
    (`<br />` became a line break) and `text_column` (of a table). Raises FolioError if model and
    vocabulary do not match.
    """
    declared = json.loads((model.path / DECLARED).read_bytes())
    vocabulary = tokens.path / VOCABULARY
    if folder_digest(vocabulary) != declared["vocabulary_digest"]:
        raise FolioError(
            f"{model.path}: was not trained with the vocabulary of {tokens.path}; "
            "run the pipeline again from tokens"
        )
    folder.mkdir(parents=True)
    for name in (MODEL, DECLARED):
        shutil.copyfile(model.path / name, folder / name)
    (folder / VOCABULARY).mkdir()
    for path in tokens.files("vocabulary/"):
        shutil.copyfile(path, folder / VOCABULARY / path.name)
    if mix is not None:
        (folder / MIX).mkdir()
        for path in mix.files(""):
            shutil.copyfile(path, folder / MIX / path.name)
    config = tokens.manifest["config"]
    _write(
        folder,
        {
            "pipeline": pipeline,
            "kind": declared["model"]["kind"],
            "tokens": {
                key: config[f"tokens.{key}"] for key in ("kind", "lower", "max_tokens", "keep")
            },
            **{key: measured.get(key) for key in ("window", "context", "layout")},
            "calibration": _scaling(measured.get("calibration")),
            "labels": list(labels),
            "backend": model.manifest["config"]["training.backend"],
            "sample": sample,
            "normal_form": None,
            "html_breaks": False,
            "text_column": None,
            **(texts or {}),
            **({"mix": mix.manifest["config"]["mix"]} if mix is not None else {}),
        },
    )


def _scaling(figures: Mapping[str, Any] | None) -> dict[str, float] | None:
    return {key: figures[key] for key in ("temperature", "threshold")} if figures else None


def _write(folder: Path, settings: dict[str, Any]) -> None:
    text = json.dumps(settings, indent=1, ensure_ascii=False)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")


def seal(folder: Path) -> None:
    """Record the digests of all files in package.json, after the last file was added to the
    folder."""
    settings = json.loads((folder / SETTINGS).read_bytes())
    _write(
        folder, settings | {"files": {name: digest_file(folder / name) for name in _files(folder)}}
    )


def _files(folder: Path) -> list[str]:
    """The names of all files except package.json itself."""
    found = (
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    )
    return [name for name in found if name != SETTINGS]


def altered(folder: Path) -> str | None:
    """What has changed since packing, in words; None if nothing has, or the package has no
    digests."""
    try:
        settings = PackageSettings.model_validate(read_object(folder / SETTINGS))
        return _changes(folder, settings.files or {})
    except (OSError, ValueError, DamagedError):
        return f"{SETTINGS} was altered"


def _changes(folder: Path, noted: Mapping[str, str]) -> str | None:
    for name in noted:
        if reason := unsafe(name):
            return f"{SETTINGS} names a file {name!r}, which {reason}"
    if extra := [name for name in _files(folder) if noted and name not in noted]:
        return f"{extra[0]} does not belong to it"
    for name, digest in noted.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if digest_file(folder / name) != digest:
            return f"{name} was altered"
    return None
