"""Traces where a model came from, and what was made from a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.errors import UsageError
from pipelines.files.digests import digest_file
from pipelines.registry.lookup import figures_of
from pipelines.registry.references import PREFIX, Reference, of_version, resolve
from pipelines.registry.versions import Version, versions
from pipelines.store.artifacts import Artifact, Store
from pipelines.store.lineage import Graph, holding, raw_files, stored
from pipelines.store.settings import Settings

Document = dict[str, Any]


def came_from(text: str, settings: Settings) -> tuple[Document, Graph, list[Artifact]]:
    """Everything upstream of a version, a run or an artifact: the description and the drawing.

    {asked, kind, name, version, artifacts, files, gone}: artifacts as `Graph.described`, the last
    stage first; files as `raw_files`; gone is what the store no longer has.
    """
    reference, graph = resolve(text, settings), graph_of(settings)
    found = named_artifacts(reference, graph)
    above = graph.above(filter(None, found.values()), upstream=True)
    lost = [
        {"stage": stage, "digest": reference.digests.get(stage), "needed_by": reference.name}
        for stage, one in found.items()
        if one is None
    ]
    sources = [one for one in above if one.stage == "source"]
    document = {
        "asked": text,
        "kind": reference.kind,
        "name": reference.name,
        "version": reference.version and _described(reference.version),
        "artifacts": [graph.described(one) for one in above],
        "files": [file for source in sources for file in raw_files(source)],
        "gone": lost + graph.gone(above),
    }
    return document, graph, above


def became_of(text: str, settings: Settings) -> tuple[Document, Graph, list[Artifact]]:
    """Everything that was made from a file or an artifact, the runs that used it, the versions.

    {asked, found: [{name, sha256, bytes, stage, key}], artifacts, runs, versions}: artifacts as
    `Graph.described`, the source first. Raises UsageError if no artifact has the file.
    """
    graph, artifacts = graph_of(settings), list(stored(Store(settings.store.root)))
    starts, files = _eaters(text, artifacts)
    below = graph.below(starts)
    keys = {one.key for one in below}
    document = {
        "asked": text,
        "found": files,
        "artifacts": [graph.described(one) for one in below],
        "runs": [
            _ran(record)
            for record in settings.runs
            if keys & {entry["key"] for entry in record["stages"]}
        ],
        "versions": [
            _described(one)
            for one in versions(settings.home)
            if keys & set(of_version(one).keys.values())
        ],
    }
    return document, graph, below


def graph_of(settings: Settings) -> Graph:
    """Of the artifacts on this machine; a shared store is not read."""
    return Graph(stored(Store(settings.store.root)))


def named_artifacts(reference: Reference, graph: Graph) -> dict[str, Artifact | None]:
    """{stage: the named artifact, or one with its content; None: gone}."""
    return {
        stage: graph.get(stage, key, reference.digests.get(stage))
        for stage, key in reference.keys.items()
    }


def _described(version: Version) -> dict[str, Any]:
    verdict_tags = {
        name: version.tags.get(f"folio.{name}") for name in ("verdict", "reason", "run")
    }
    figures = dict(figures_of(version).values)
    return {
        "model": version.name,
        "version": version.number,
        "aliases": list(version.aliases),
        "created": version.created,
        **verdict_tags,
        "figures": figures,
    }


def _ran(record: dict[str, Any]) -> dict[str, Any]:
    return {
        name: record.get(name)
        for name in ("run", "pipeline", "profile", "started", "state", "version")
    }


def _eaters(text: str, artifacts: list[Artifact]) -> tuple[list[Artifact], list[dict[str, Any]]]:
    """The artifacts that contain what `text` names, and the files in them that it names."""
    path = Path(text).expanduser()
    if path.is_dir():
        raise UsageError(f"{text}: is a folder; name one of its files")
    digest = digest_file(path) if path.is_file() else None
    if digest is None and PREFIX.fullmatch(text):
        own = [one for one in artifacts if one.key.startswith(text)]
        if own:
            return own, []
    sources = [one for one in artifacts if one.stage == "source"]
    held = list(_held(digest or text, artifacts)) or ([] if digest else holding(sources, text))
    if not held:
        raise UsageError(_unknown(text, path, digest, sources))
    return [one for one, _ in held], [_file(one, name) for one, name in held]


def _held(digest: str, artifacts: list[Artifact]) -> Iterator[tuple[Artifact, str]]:
    """A complete SHA-256 or a prefix."""
    if PREFIX.fullmatch(digest):
        for one in artifacts:
            for name, entry in one.manifest["files"].items():
                if entry["sha256"].startswith(digest):
                    yield one, name


def _file(artifact: Artifact, name: str) -> dict[str, Any]:
    return {
        "name": name,
        **artifact.manifest["files"][name],
        "stage": artifact.stage,
        "key": artifact.key,
    }


def _unknown(text: str, path: Path, digest: str | None, sources: list[Artifact]) -> str:
    if digest is None:
        return (
            f"{text}: no such file, and no artifact has a file, SHA-256 or key of this "
            "name; give the path of a file, the name of a raw file, or a digest"
        )
    alike = [
        f"source {one.key[:12]} (SHA-256 {one.manifest['files'][name]['sha256'][:12]}…)"
        for one, name in holding(sources, path.name)
    ]
    other = f"; a file of that name with other bytes is in {', '.join(alike)}" if alike else ""
    return f"{text}: no artifact has these bytes (SHA-256 {digest}){other}"
