"""Decides for each stage whether it would run, and says exactly why. `run` uses the same code.

A key depends on the content of a stage's inputs, so those of stages after one that must run are
not known yet: the plan says `run`, and that they are reused if the inputs do not change. For stages
after a damaged artifact, it assumes that this one is rebuilt with the bytes in its manifest; a run
stops if it is not.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pipelines.declaration.spec import Spec, operational, plain
from pipelines.errors import FolioError, UsageError
from pipelines.files.digests import digest_file
from pipelines.files.names import unsafe
from pipelines.network.addresses import identity
from pipelines.run.changes import why_changed
from pipelines.run.options import Selection
from pipelines.run.upstream import started
from pipelines.source.own_folders import matched, refuse_own_folders
from pipelines.source.remote_version import doubt, must_be_asked, versions
from pipelines.stages import STAGES, Stage
from pipelines.store.artifacts import Artifact, Recipe, Store
from pipelines.store.fingerprint import code_fingerprint, library_version
from pipelines.store.own_code import OwnFunction
from pipelines.store.settings import Settings

Action = Literal["run", "reuse", "rebuild"]


@dataclass(frozen=True)
class Pending:
    """A stage that must run after another one that must run: its own key is not known yet."""

    stage: str
    reason: str
    action: Action = "run"
    reused: None = None
    condition: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"stage": self.stage, "action": self.action, "reason": self.reason, "key": None}


@dataclass(frozen=True)
class Decision:
    """The decision on one stage whose inputs are known.

    `artifact` is the existing one: to be reused, or else to be built again. The decision holds if
    the stages in `condition` are rebuilt with the bytes that they had.
    """

    stage: str
    action: Action
    reason: str
    recipe: Recipe
    artifact: Artifact | None = None
    condition: tuple[str, ...] = ()

    @property
    def reused(self) -> Artifact | None:
        return self.artifact if self.action == "reuse" else None

    @property
    def damaged(self) -> Artifact | None:
        return self.artifact if self.action == "rebuild" else None

    def as_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "action": self.action,
            "reason": self.reason,
            "key": self.recipe.key,
        }


def plan(
    spec: Spec, settings: Settings, selection: Selection = Selection()
) -> list[Decision | Pending]:
    """The decisions on all selected stages, upstream first."""
    return _plan(spec, settings, selection.within(spec), {})


def made_of(
    former: Artifact,
    artifacts: Mapping[str, Artifact],
    spec: Spec,
    settings: Settings,
    selection: Selection,
) -> list[str]:
    """The stages that a run reuses only if `former`, a damaged artifact, is rebuilt with the bytes
    that it had. `artifacts` are those of the stages before."""
    known = {**artifacts, former.stage: former}
    later = _plan(spec, settings, selection, known, former.stage)
    return [one.stage for one in later if one.reused and former.stage in one.condition]


def outdated(artifacts: Mapping[str, Artifact], spec: Spec, settings: Settings) -> list[str]:
    """The other stages of the pipeline that are not based on these artifacts."""
    others = _plan(spec, settings, Selection().within(spec), artifacts)
    return [one.stage for one in others if not one.reused]


def _plan(
    spec: Spec,
    settings: Settings,
    selection: Selection,
    known: Mapping[str, Artifact],
    damaged: str | None = None,
) -> list[Decision | Pending]:
    """The decisions on the stages that are not `known`; the artifact of `damaged` is."""
    decisions: list[Decision | Pending] = []
    artifacts = dict(known)
    rebuilt: dict[str, list[str]] = {}  # {stage: the damaged ones that it is made from}
    for stage in STAGES:
        if stage.name == damaged:
            rebuilt[stage.name] = [stage.name]
        if stage.name not in selection.stages or stage.name in known:
            continue
        decision = foreseen(stage, spec, artifacts, settings, selection)
        reads = () if stage.upstream else stage.reads(selection.stages)
        above = list(dict.fromkeys(name for read in reads for name in rebuilt.get(read, ())))
        if isinstance(decision, Decision):
            decision = _on_condition(decision, above)
            # What a release says depends on the registry too: rebuilt, it is seldom the same.
            same = decision.action == "reuse" or (decision.action == "rebuild" and stage.shared)
            if same and decision.artifact is not None:
                artifacts[stage.name] = decision.artifact
        rebuilt[stage.name] = above + [stage.name] * (decision.action == "rebuild")
        decisions.append(decision)
    return decisions


def _on_condition(decision: Decision, rebuilt: list[str]) -> Decision:
    """With the condition that these are rebuilt as they were."""
    if decision.action == "run" or not rebuilt:
        return decision
    are = "is" if len(rebuilt) == 1 else "are"
    condition = f"if {' and '.join(rebuilt)} {are} rebuilt with the same bytes"
    return replace(decision, reason=f"{decision.reason}, {condition}", condition=tuple(rebuilt))


def foreseen(
    stage: Stage,
    spec: Spec,
    inputs: Mapping[str, Artifact],
    settings: Settings,
    selection: Selection = Selection(),
) -> Decision | Pending:
    """Like `decide`, for a stage some of whose inputs may have to be built first."""
    if stage.upstream:
        start = started(spec, settings)
        decision = decide(stage, start.spec, start.artifacts, settings, selection)
        return replace(decision, reason=start.named_in(decision.reason))
    missing = [name for name in stage.reads(selection.stages) if name not in inputs]
    if missing:
        spared = (
            "" if stage.name in selection.forced else "; reused if the input bytes do not change"
        )
        return Pending(stage.name, f"{', '.join(missing)} must run first{spared}")
    return decide(stage, spec, inputs, settings, selection)


def decide(
    stage: Stage,
    spec: Spec,
    inputs: Mapping[str, Artifact],
    settings: Settings,
    selection: Selection = Selection(),
) -> Decision:
    """The decision on one stage, given the artifacts that it reads."""
    store, forced = settings.store_of(stage), stage.name in selection.forced
    if stage.name == "source" and spec.source.path:
        refuse_own_folders(Path(spec.source.path), settings)
    named, unasked = _versions(stage, spec, settings, selection)
    recipe = recipe_of(stage, spec, inputs, named)
    found = store.find(stage.name, recipe.key)
    if found is None:
        return _absent(recipe, spec, settings, store, unasked)
    if problem := store.damage(found):
        if (mended := store.mended(found)) is None:
            return Decision(stage.name, "rebuild", f"artifact damaged: {problem}", recipe, found)
        found = mended
    if stage.name == "release" and (why := _unregistered(found, settings.home)):
        return Decision(stage.name, "run", why, recipe, found)
    if forced:
        return Decision(stage.name, "run", "rerun requested; nothing changed", recipe, found)
    if unasked:
        return Decision(stage.name, "reuse", f"{unasked}; its newest copy is used", recipe, found)
    if doubtful := doubt(named, found):
        return Decision(stage.name, "run", doubtful, recipe, found)
    from pipelines.registry.lookup import unchanged

    return Decision(stage.name, "reuse", unchanged(found, settings.home), recipe, found)


def _absent(
    recipe: Recipe, spec: Spec, settings: Settings, store: Store, unasked: str | None
) -> Decision:
    unshared = store.unshared(recipe.stage, recipe.key)
    if harm := store.remains(recipe.stage, recipe.key):
        return Decision(recipe.stage, "rebuild", f"artifact damaged: {harm}", recipe)
    previous = settings.runs.previous_manifest(store.local, spec.name, recipe.stage)
    reasons = filter(None, (why_changed(recipe, previous), unasked, unshared))
    return Decision(recipe.stage, "run", "; ".join(reasons), recipe)


def _versions(
    stage: Stage, spec: Spec, settings: Settings, selection: Selection
) -> tuple[dict[str, str], str | None]:
    """The versions of an unpinned source's files ({} for everything else).

    If the source was not contacted: those of its newest artifact ({} if there is none), and why.
    """
    if stage.name != "source" or not must_be_asked(spec.source):
        return {}, None
    if selection.needs_existing(stage.name):
        unasked = "the source was not contacted: --only and --from build on the existing artifact"
    else:
        try:
            return versions(spec.source, settings.mirror, settings.offline), None
        except UsageError:
            raise
        except FolioError as error:
            unasked = f"the source was not reachable: {error}"
    newest = settings.store.newest(recipe_of(stage, spec, {}))
    return (newest.manifest["inputs"] if newest else {}), unasked


def _unregistered(found: Artifact, home: Path) -> str | None:
    """A release counts only if the registry has the version that it records."""
    from pipelines.registry.lookup import unregistered
    from pipelines.registry.versions import versions as registered

    return unregistered(found, registered(home, found.manifest["config"].get("name")))


def recipe_of(
    stage: Stage,
    spec: Spec,
    inputs: Mapping[str, Artifact],
    versions: Mapping[str, str] = MappingProxyType({}),
) -> Recipe:
    """Everything that determines the stage's bytes; `versions` of files that have no checksum."""
    digests = {**{name: inputs[name].digest for name in stage.reads(inputs)}, **versions}
    if stage.name == "source" and spec.source.path:
        digests = local_digests(Path(spec.source.path))
    config = {
        key: value
        for key, value in plain(spec.select(stage.config)).items()
        if key not in operational(Spec)
    }
    if stage.name == "source":  # manifests may be copied: no user, password or query
        config["source.url"] = [identity(url) for url in spec.source.url]
    names = [spec.training.backend if name == "backend" else name for name in stage.libraries]
    libraries = {name: library_version(name) for name in names}
    if libraries:
        libraries["python"] = ".".join(map(str, sys.version_info[:2]))
    return Recipe(
        stage.name,
        stage.version,
        config,
        digests,
        code_fingerprint(stage.module, stage.files) | own_code(stage, spec),
        libraries,
    )


def own_code(stage: Stage, spec: Spec) -> dict[str, str]:
    """{file: digest} of the user's own function that the stage calls, if any."""
    if stage.own_code is None or not spec.declares(stage.own_code):
        return {}
    reference = spec.select((stage.own_code,))[stage.own_code]
    return OwnFunction(stage.own_code, reference, Path(spec.code_folder)).fingerprint()


def local_digests(path: Path) -> dict[str, str]:
    """{file: digest} of a local file, a folder, or the files that a pattern matches."""
    if pattern := matched(path):
        folder, matching = pattern
        return {named(str(p.relative_to(folder)), p): digest_file(p) for p in matching}
    if path.is_file():
        return {named(path.name, path): digest_file(path)}
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder; fix source.path in the declaration")
    files = [p for p in sorted(path.rglob("*")) if p.is_file()]
    return {named(str(p.relative_to(path)), p): digest_file(p) for p in files}


def named(name: str, file: Path) -> str:
    """A name allowed in a manifest; local files can have any name."""
    if reason := unsafe(name):
        raise UsageError(f"{str(file)!a}: its name {reason}; rename it")
    return name
