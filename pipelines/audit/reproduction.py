"""Rebuilds a version from its manifests, and says which stage differs first.

Each stage is built with the settings in its own manifest, on the rebuilt inputs, in a separate
store; then the digests of the files are compared. Nothing is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pipelines.audit.difference import metric_rows
from pipelines.audit.provenance import graph_of, named_artifacts
from pipelines.audit.rebuilt import Rebuilt, why
from pipelines.declaration.load import load_spec
from pipelines.declaration.model_sections import ModelSpec, StartSpec
from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError, UsageError
from pipelines.network.addresses import HIDDEN, config_shown, identity
from pipelines.registry.references import Reference
from pipelines.run.changes import changes, listed
from pipelines.run.execute import execute_stage
from pipelines.run.plan import recipe_of
from pipelines.stages import NAMES, STAGES, Stage
from pipelines.store.artifacts import Artifact, Store
from pipelines.store.run_records import Runs
from pipelines.store.settings import Settings

LAST = "metrics"  # a release is not rebuilt
Notice = Callable[[str], None]


def reproduce(
    reference: Reference,
    settings: Settings,
    into: Path,
    until: str = LAST,
    *,
    notice: Notice = lambda text: None,
) -> dict[str, Any]:
    """Rebuild every stage up to `until` into the store `into`, and compare.

    Returns {name, agrees, first, why, stages, metrics}: `first` is the first stage that differs,
    `why` the most likely cause. Raises FolioError if a manifest is gone, if this Folio does not
    know a setting in it, or if the source is no longer available.
    """
    if into.resolve() == settings.home.resolve():
        raise UsageError(
            f"{into}: contains the artifacts to rebuild; give another folder with --into"
        )
    wanted = _wanted(reference, settings, until)
    scratch = Settings(
        into,
        Store(into / "store"),
        Runs(into / "runs"),
        settings.mirror,
        settings.offline,
        progress=settings.progress,
    )
    rebuilt: list[Rebuilt] = []
    for one in _rebuild(wanted, settings, scratch, notice):
        rebuilt.append(one)
        said = "agrees" if one.agrees else f"DIFFERS in {listed(one.files)}"
        notice(f"{one.name}: {said}{one.remark}, {one.seconds:.1f} s")
    first = next((one for one in rebuilt if not one.agrees), None)
    metrics = [one for one in rebuilt if one.stage == "metrics"]
    figures = metric_rows(metrics[0].old.manifest, metrics[0].new.manifest) if metrics else []
    return {
        "name": reference.name,
        "agrees": first is None,
        "first": first and first.name,
        "why": first and why(first, figures),
        "stages": [one.as_json() for one in rebuilt],
        "metrics": figures,
    }


def _wanted(reference: Reference, settings: Settings, until: str) -> dict[str, Artifact]:
    """The artifacts to rebuild by stage, the source first."""
    graph = graph_of(settings)
    found = named_artifacts(reference, graph)
    for stage, key in reference.keys.items():
        found[stage] = found[stage] or settings.store.find(stage, key)
    above = {one.stage: one for one in graph.above(filter(None, found.values()))}
    last = max((NAMES.index(stage) for stage in reference.keys), default=0)
    stages = NAMES[: min(last, NAMES.index(until), NAMES.index(LAST)) + 1]
    wanted = {stage: one for stage in stages if (one := found.get(stage) or above.get(stage))}
    _must_be_there(wanted, stages, reference.name)
    return wanted


def _must_be_there(wanted: Mapping[str, Artifact], stages: tuple[str, ...], name: str) -> None:
    read = {name for one in wanted.values() for name in one.manifest["inputs"]}
    optional = {stage.name for stage in STAGES if stage.when} - read
    gone = [stage for stage in stages if stage not in wanted and stage not in optional]
    if gone:
        raise FolioError(
            f"{name}: its {' and '.join(gone)} can no longer be found, so it is "
            "unknown how it was made; folio gc keeps what champions and the last runs "
            "need"
        )


def _upstream_of(start: Artifact, settings: Settings) -> dict[str, Artifact]:
    """The artifacts of the version that `start` was taken from, up to its model."""
    graph = graph_of(settings)
    taken = [one for one in graph.made_of(start).values() if one is not None]
    found = {one.stage: one for one in graph.above(taken)}
    _must_be_there(found, NAMES[: NAMES.index("model") + 1], start.counts["pipeline"])
    return found


def _rebuild(
    wanted: Mapping[str, Artifact], settings: Settings, scratch: Settings, notice: Notice
) -> Iterator[Rebuilt]:
    made: dict[str, Artifact] = {}
    for stage in STAGES:
        if stage.name not in wanted:
            if stage.when:
                continue
            return
        old = wanted[stage.name]
        if stage.name == "source":
            one = _source(stage, old, settings, scratch, notice)
        elif stage.upstream:
            there: dict[str, Artifact] = {}
            for above in _rebuild(_upstream_of(old, settings), settings, scratch, notice):
                there[above.stage] = there.get(above.stage, above.new)
                yield replace(above, of=above.of or old.counts["pipeline"])
            one = _start(stage, old, there, scratch)
        else:
            one = _stage(stage, old, made, scratch)
        made[stage.name] = one.new
        yield one


def _stage(
    stage: Stage,
    old: Artifact,
    made: Mapping[str, Artifact],
    scratch: Settings,
    remark: str = "",
    **source: Any,
) -> Rebuilt:
    spec = spec_from(old.manifest, **source)
    inputs = {name: made[name] for name in stage.reads(made)}
    result = execute_stage(stage, spec, inputs, scratch)
    changed = changes(recipe_of(stage, spec, inputs), old.manifest)
    return Rebuilt(stage.name, old, result.artifact, changed, result.seconds, remark)


def _start(
    stage: Stage, old: Artifact, there: Mapping[str, Artifact], scratch: Settings
) -> Rebuilt:
    config = old.manifest["config"]
    start = StartSpec.model_construct(
        **{name: config[f"model.start_from.{name}"] for name in StartSpec.model_fields}
    )
    origin = {name: old.manifest[name] for name in ("profile", "sample", "seed")}
    model = ModelSpec.model_construct(kind="classifier", start_from=start)  # any kind
    spec = Spec.model_construct(name=old.manifest["pipeline"], model=model, **origin)
    inputs = {name: there[name] for name in stage.inputs}
    result = execute_stage(stage, spec, inputs, scratch)
    changed = changes(recipe_of(stage, spec, inputs), old.manifest)
    return Rebuilt(stage.name, old, result.artifact, changed, result.seconds)


def _source(
    stage: Stage, old: Artifact, settings: Settings, scratch: Settings, notice: Notice
) -> Rebuilt:
    """The store's own copy if its bytes are unchanged, else fetched again."""
    problem = settings.store.damage(old)
    if problem is None:
        settings.store.hold(old)
        return Rebuilt(stage.name, old, old, [], 0.0, " (the store's own copy, its bytes checked)")
    notice(f"source: the store's copy is damaged ({problem}); fetching it again")
    place, mirror = _origin(old, settings)
    again = Settings(
        scratch.home,
        scratch.store,
        scratch.runs,
        settings.mirror or mirror,
        settings.offline,
        progress=settings.progress,
    )
    try:
        return _stage(stage, old, {}, again, f" (fetched again: {problem})", **place)
    except FolioError as error:
        raise FolioError(
            f"source {old.key[:12]}: the store's copy is damaged ({problem}), and its "
            f"origin no longer has it: {error}"
        ) from error


def _origin(source: Artifact, settings: Settings) -> tuple[dict[str, Any], str | None]:
    """Where the files came from: the origins in the declaration, and the mirror."""
    origin = next(iter(source.counts["origins"].values()))
    address = origin["address"]
    if origin["from"] == "path":
        return {"path": address}, None
    mirror = address.rpartition("/")[0] if origin["from"].startswith("mirror") else None
    return _declared(source, settings), mirror


def _declared(source: Artifact, settings: Settings) -> dict[str, Any]:
    """The addresses in the run's declaration: manifests contain no user, password or query.

    Raises FolioError if they are needed and that declaration is gone, or now names other files.
    """
    manifest = source.manifest
    noted = config_shown(manifest["config"]).get("source.url") or []
    with suppress(FolioError, KeyError):
        record = settings.runs.get(manifest["run"] or "none")
        spec = load_spec(record["declared"], record["profile"], tuple(record["overrides"]))
        if [identity(url) for url in spec.source.url] == noted:
            return {"url": spec.source.url}
    if settings.mirror or not any(HIDDEN in url for url in noted):
        return {}
    raise FolioError(
        f"source {source.key[:12]}: its manifest has no query of the address, and the "
        f"declaration of run {manifest['run']} does not have it either; restore it there, "
        "or give --mirror DIR with the files"
    )


def spec_from(manifest: Mapping[str, Any], **source: Any) -> Spec:
    """The declaration as far as the manifest's stage used it; other parts are absent.

    Raises FolioError if it contains something that this Folio does not know.
    """
    parts: dict[str, Any] = {}
    for key, value in manifest["config"].items():
        section, _, name = key.partition(".")
        if name:
            parts.setdefault(section, {})[name] = value
        else:
            parts[key] = value
    if source:
        parts["source"] |= source
    try:
        values = {name: _section(name, value) for name, value in parts.items()}
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        named = ".".join(map(str, first["loc"]))
        raise FolioError(
            f"{manifest['stage']} {manifest['key'][:12]}: {named}: "
            f"{first['msg'].lower()}; it was declared for another version of Folio: try "
            f"it at commit {manifest['git_commit']}"
        ) from error
    origin = {name: manifest[name] for name in ("profile", "sample", "seed")}
    return Spec.model_construct(**{"name": manifest["pipeline"], **origin, **values})


def _section(name: str, value: Any) -> Any:
    kind = Spec.model_fields[name].annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.model_validate(value)
    return value
