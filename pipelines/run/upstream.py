"""One pipeline starts from another's registered model: which version that is, and in what order
they are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.declaration.catalog import catalog_names, declaration_file, shipped_names
from pipelines.declaration.load import FULL, load_spec
from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError, UsageError
from pipelines.registry.references import of_version
from pipelines.registry.versions import CHAMPION, Version
from pipelines.store.artifacts import Artifact
from pipelines.store.settings import Settings

TAKEN = ("model", "tokens")  # the artifacts of a version that another pipeline starts from
SAME = ("model.cell", "model.embedding", "model.units", "model.bidirectional", "model.layer_norm")
SAME_WORDS = ("tokens.kind", "tokens.lower", "tokens.words")


@dataclass(frozen=True)
class Start:
    """`spec` names the number of the version, whose artifacts these are."""

    spec: Spec
    artifacts: dict[str, Artifact]
    version: Version
    declared: str  # champion, or version

    def named_in(self, reason: str) -> str:
        """A decision's reason with the version, such as `imdb-lm: champion 3 → 4`."""
        name = f"{self.version.name}: {self.declared} "
        if (changed := f"{self.version.name}: version ") in reason:
            return reason.replace(changed, name)
        return f"{name}{self.version.number}; {reason}"


def started(spec: Spec, settings: Settings) -> Start:
    """What a pipeline with `model.start_from` starts from now.

    Raises UsageError if there is no such version or the network does not fit it, and FolioError if
    its artifacts are gone.
    """
    start = spec.model.start_from
    assert start is not None, "the pipeline starts from nothing"
    version = _version(spec, settings)
    keys = of_version(version).keys
    found = {stage: settings.store.find(stage, keys.get(stage, "")) for stage in TAKEN}
    artifacts = {stage: one for stage, one in found.items() if one is not None}
    if gone := [stage for stage in TAKEN if stage not in artifacts]:
        raise FolioError(
            f"{spec.name}: {start.pipeline} version {version.number} has no "
            f"{' and no '.join(gone)} artifact here to start from; run: folio run {start.pipeline}"
        )
    for stage, one in artifacts.items():
        if harm := settings.store.damage(one):
            raise FolioError(
                f"{spec.name} starts from {start.pipeline} version {version.number}: its {stage} "
                f"artifact is damaged: {harm}; run: folio run {start.pipeline}"
            )
    _must_fit(spec, version, artifacts)
    pinned = spec.model.model_copy(
        update={"start_from": start.model_copy(update={"version": version.number})}
    )
    declared = CHAMPION if start.version == CHAMPION else "version"
    return Start(spec.model_copy(update={"model": pinned}), artifacts, version, declared)


def _version(spec: Spec, settings: Settings) -> Version:
    from pipelines.registry.lookup import named_version

    start = spec.model.start_from
    assert start is not None
    number = None if isinstance(start.version, str) else start.version
    try:
        version = named_version(settings.home, start.pipeline, number)
    except FolioError as error:
        profile = "" if spec.profile == FULL else f" --profile {spec.profile}"
        both = f", or: folio run {spec.name}{profile} --with-upstream" if number is None else ""
        raise UsageError(f"{spec.name} starts from {error}{both}") from error
    if version.tags.get("folio.sample") == "true" and not spec.sample:
        raise UsageError(
            f"{spec.name} starts from {start.pipeline}: version {version.number} was trained on "
            f"Folio's small sample text; train it on the real text: folio run {start.pipeline}"
        )
    return version


def _must_fit(spec: Spec, version: Version, artifacts: Mapping[str, Artifact]) -> None:
    """The same layers, perhaps with more on top, and the same words."""
    theirs = artifacts["model"].manifest["config"] | artifacts["tokens"].manifest["config"]
    own, layers = _declared(spec), len(theirs["model.units"])
    shared = own | {"model.units": own["model.units"][:layers]}
    same = (*SAME, *(("model.residual",) if layers > 1 else ()), *SAME_WORDS)
    wrong = next((key for key in same if theirs.get(key) != shared[key]), None)
    if wrong:
        raise UsageError(
            f"{spec.name} starts from {version.name} version {version.number}, which has "
            f"{wrong} {theirs.get(wrong)}, not {own[wrong]}; declare the same, or train and "
            "promote a version that has it"
        )


def _declared(spec: Spec) -> dict[str, Any]:
    sections = {"model": spec.model, "tokens": spec.tokens}
    return {
        f"{name}.{key}": value
        for name, section in sections.items()
        for key, value in section.model_dump(mode="json").items()
    }


def chain(pipeline: str, profile: str = FULL, overrides: tuple[str, ...] = ()) -> list[str]:
    """The pipelines to train before this one, first things first; names or paths.

    A pipeline that is not declared here cannot be trained, only started from: it is left out.
    Raises UsageError if they start from each other.
    """
    found = list(_above(pipeline, load_spec(pipeline, profile, overrides), ()))
    return found[::-1]


def _above(pipeline: str, spec: Spec, below: tuple[str, ...]) -> Iterator[str]:
    path = (*below, spec.name)
    start = spec.model.start_from
    if start is None:
        return
    if start.pipeline in path:
        raise UsageError(
            f"model.start_from: {' → '.join((*path, start.pipeline))} is a circle; no pipeline can "
            "start from itself"
        )
    upstream = _place(start.pipeline, pipeline)
    if upstream is not None:
        yield upstream
        yield from _above(upstream, load_spec(upstream), path)


def _place(name: str, beside: str) -> str | None:
    """The declaration of this name in the same folder, or in the catalog."""
    if beside not in shipped_names():
        own = declaration_file(beside).with_name(f"{name}.yaml")
        if own.is_file():
            return str(own)
    return name if name in catalog_names() else None
