"""The release stage: model and vocabulary as one MLflow model, a version, and who is champion.

Writes `release.json`. Everyone else asks here which versions there are; as long as the registry
is the SQLite file of the home, asking does not import MLflow.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.errors import FolioError
from pipelines.fingerprint import (
    PROJECT,
    code_fingerprint,
    digest_file,
    digest_json,
    library_version,
)
from pipelines.promotion import Figures, Verdict, decide
from pipelines.spec import RegistrySpec
from pipelines.stages import Inputs
from pipelines.store import MANIFEST, Workspace
from pipelines.versions import Version, asked, fetched, mlflow_at, tracking_uri, versions

if TYPE_CHECKING:
    import mlflow

CHAMPION, CHALLENGER = "champion", "challenger"
PACKAGE = "package"  # the folder in the model that inference reads
LOADER = "pipelines.served_model"
# Imported by the loader, but in no fingerprint.
CONTRACTS = ("__init__", "errors", "spec", "text_spec")
LIBRARIES = ("keras", "numpy", "pandas", "polars", "pydantic", "sentencepiece")
STEPS = 3


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Register the model unless that very package is registered; move the aliases.

    Returns version and verdict. Raises FolioError when the registry does not answer.
    """
    work.progress(0, STEPS, "steps: packing the model")
    metrics = json.loads((inputs["metrics"].path / "metrics.json").read_bytes())
    figures = metrics["headline"]
    above = lineage(inputs)
    requirements = _requirements(inputs["model"].manifest["config"]["training.backend"])
    folder = _staged(inputs, config, above, metrics, work.scratch / "staged")
    tags = _tags(above, config, figures, folder, requirements)
    work.progress(1, STEPS, "steps: opening the registry")
    with mlflow_at(work.home) as (mlflow, client):
        known = asked(client, config["name"])
        standing = _standing(known, tags)
        verdict, champion = _decide(figures, config, known, standing)
        tags |= {"folio.verdict": verdict.verdict, "folio.reason": verdict.reason}
        if standing is None:
            work.progress(2, STEPS, "steps: registering the model")
            number = _register(mlflow, client, work.home, folder, config["name"], tags,
                               requirements, _parameters(inputs), figures)
        else:
            number = standing.number
            for key, value in tags.items():
                client.set_model_version_tag(config["name"], str(number), key, value)
        crowned = _move_aliases(client, config["name"], number, verdict, champion)
    release = _release(config, figures, number, verdict, champion, crowned)
    text = json.dumps(release, indent=1, ensure_ascii=False)
    (work.out / "release.json").write_text(text + "\n", encoding="utf-8")
    return {"version": number, "verdict": verdict.verdict}


# What is registered


def lineage(inputs: Inputs) -> dict[str, dict[str, Any]]:
    """{stage: manifest} of every stage above, found by the content digests in the manifests."""
    found = {name: artifact.manifest for name, artifact in inputs.items()}
    store = inputs["model"].path.parent.parent
    pending = list(found.values())
    while pending:
        manifest = pending.pop()
        if manifest["stage"] == "source":
            continue  # its inputs are files, not stages
        for stage, digest in manifest["inputs"].items():
            above = None if stage in found else _manifest(store / stage, digest)
            if above is not None:
                found[stage] = above
                pending.append(above)
    return found


def _manifest(folder: Path, digest: str) -> dict[str, Any] | None:
    """The newest manifest in a stage's folder whose content is `digest`."""
    read = [json.loads(path.read_bytes()) for path in sorted(folder.glob(f"[!.]*/{MANIFEST}"))]
    same = [manifest for manifest in read if manifest["digest"] == digest]
    return max(same, key=lambda manifest: manifest["created"], default=None)


def _requirements(backend: str) -> list[str]:
    return [f"{name}=={library_version(name)}" for name in sorted({*LIBRARIES, backend})]


def _staged(inputs: Inputs, config: dict[str, Any], above: Mapping[str, dict[str, Any]],
            metrics: Mapping[str, Any], folder: Path) -> Path:
    """`package/`, and in `code/` the modules that read it, so that it needs no Folio around."""
    from pipelines.inference import write_package

    shutil.rmtree(folder, ignore_errors=True)
    labels = config.get("corpus.labels") or above["corpus"]["config"]["corpus.labels"]
    write_package(folder / PACKAGE, inputs["model"], inputs["tokens"], pipeline=config["name"],
                  labels=tuple(labels), sample=config["sample"], window=metrics.get("window"),
                  context=metrics.get("context"))
    modules = {f"pipelines/{name}.py" for name in CONTRACTS} | set(code_fingerprint(LOADER))
    for name in sorted(modules):
        (folder / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, folder / "code" / name)
    return folder


def _tags(above: Mapping[str, dict[str, Any]], config: dict[str, Any], figures: dict[str, Any],
          folder: Path, requirements: list[str]) -> dict[str, str]:
    """What a version says of itself: figures, origin, and the stages above it."""
    files = {str(path.relative_to(folder)): digest_file(path)
             for path in sorted(folder.rglob("*")) if path.is_file()}
    origin = above["model"]
    tags = {"figures": json.dumps(figures), "metric": config["registry"].metric,
            "package": digest_json([files, requirements]),
            "sample": json.dumps(config["sample"])}
    tags |= {key: str(origin[key]) for key in ("profile", "run", "git_commit", "seed")
             if origin.get(key) is not None}
    for stage, manifest in sorted(above.items()):
        tags |= {f"{stage}.key": manifest["key"], f"{stage}.digest": manifest["digest"]}
    return {f"folio.{key}": value for key, value in tags.items()}


def _parameters(inputs: Inputs) -> dict[str, Any]:
    return inputs["tokens"].manifest["config"] | inputs["model"].manifest["config"]


def _standing(known: list[Version], tags: dict[str, str]) -> Version | None:
    """The version that holds this package with these figures already, its files still there."""
    same = [version for version in known
            if all(version.tags.get(key) == tags[key] for key in ("folio.package", "folio.figures",
                                                                 "folio.metrics.digest"))
            and (version.folder is None or version.folder.is_dir())]
    return same[-1] if same else None


def _decide(figures: dict[str, Any], config: dict[str, Any], known: list[Version],
            standing: Version | None) -> tuple[Verdict, Version | None]:
    """The verdict, and the champion that it was measured against."""
    spec: RegistrySpec = config["registry"]
    champion = next((version for version in known if CHAMPION in version.aliases), None)
    if champion is not None and champion == standing:
        value = Figures(figures).value(spec.metric)
        return Verdict("promote", f"{spec.metric} {value:.6g}: version {champion.number} is the "
                       "champion already"), champion
    new = Figures(figures, config["sample"])
    return decide(new, _figures(champion) if champion else None, spec), champion


def _figures(version: Version) -> Figures:
    return Figures(json.loads(version.tags.get("folio.figures", "{}")),
                   version.tags.get("folio.sample") == "true", version.number)


# MLflow


def _register(mlflow: Any, client: mlflow.MlflowClient, home: Path, folder: Path, name: str,
              tags: dict[str, str], requirements: list[str], parameters: dict[str, Any],
              figures: dict[str, Any]) -> int:
    """Log the folder as one MLflow model and register it. Returns the version."""
    kind = json.loads((folder / PACKAGE / "package.json").read_bytes())["kind"]
    with mlflow.start_run(experiment_id=_experiment(client, home, name)) as run:
        mlflow.set_tags(tags)
        mlflow.log_params(parameters)
        mlflow.log_metrics({key: value for key, value in figures.items()
                            if value is not None and math.isfinite(value)})
        logged = mlflow.pyfunc.log_model(
            name=PACKAGE, loader_module=LOADER, data_path=str(folder / PACKAGE),
            code_paths=[str(folder / "code" / "pipelines")], pip_requirements=requirements,
            signature=_signature(kind))
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, logged.model_uri, run.info.run_id, tags=tags,
                                          model_id=logged.model_id, await_creation_for=30)
    return int(version.version)


def _experiment(client: mlflow.MlflowClient, home: Path, name: str) -> str:
    """The pipeline's experiment; its files lie in this home where no server keeps them."""
    from mlflow.store.db.db_types import DATABASE_ENGINES

    found = client.get_experiment_by_name(name)
    if found is None:
        direct = urlsplit(tracking_uri(home)).scheme.partition("+")[0] in DATABASE_ENGINES
        location = (home.absolute() / "mlflow" / "artifacts" / name).as_uri() if direct else None
        return client.create_experiment(name, artifact_location=location)
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _signature(kind: str) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema

    from pipelines.served_model import COLUMNS, PARAMETERS

    types = {str: "string", float: "double", int: "long"}
    given = [ParamSpec(name, types[type(value)], value) for name, value in PARAMETERS]
    answers = [ColSpec(types[of], name, required=False) for name, of in COLUMNS[kind].items()]
    return ModelSignature(Schema([ColSpec("string", "text")]), Schema(answers),
                          ParamSchema(given) if kind == "language_model" else None)


def _move_aliases(client: mlflow.MlflowClient, name: str, number: int, verdict: Verdict,
                  champion: Version | None) -> int | None:
    """Point the aliases. Returns the version that is champion now."""
    client.set_registered_model_alias(name, CHALLENGER, str(number))
    if verdict.verdict == "reject":
        return champion.number if champion else None
    client.set_registered_model_alias(name, CHAMPION, str(number))
    return number


def _release(config: dict[str, Any], figures: dict[str, Any], number: int, verdict: Verdict,
             champion: Version | None, crowned: int | None) -> dict[str, Any]:
    name, metric = config["name"], config["registry"].metric
    return {"name": name, "version": number, "verdict": verdict.verdict,
            "reason": verdict.reason, "champion": crowned, "metric": metric,
            "value": Figures(figures).value(metric),
            "champion_value": _figures(champion).value(metric) if champion else None,
            "sample": config["sample"],
            "uri": f"models:/{name}@{CHAMPION if crowned else CHALLENGER}"}


# Asking


def list_models(home: Path, name: str | None = None) -> list[dict[str, Any]]:
    """[{name, versions: [{version, aliases, metric, value, verdict, reason, sample, created}]}],
    oldest version first; of all models, or of one."""
    models: dict[str, list[dict[str, Any]]] = {}
    for version in versions(home, name):
        models.setdefault(version.name, []).append(_described(version))
    return [{"name": key, "versions": found} for key, found in models.items()]


def champions(home: Path) -> dict[str, dict[str, Any]]:
    """{name: its champion, described as in `list_models`}."""
    return {version.name: _described(version) for version in versions(home)
            if CHAMPION in version.aliases}


def _described(version: Version) -> dict[str, Any]:
    figures, metric = _figures(version), version.tags.get("folio.metric")
    return {"version": version.number, "aliases": list(version.aliases), "metric": metric,
            "value": figures.value(metric) if metric else None,
            "verdict": version.tags.get("folio.verdict"),
            "reason": version.tags.get("folio.reason"), "sample": figures.sample,
            "created": version.created}


def is_registered(home: Path, name: str, version: int) -> bool:
    """Whether a version is there, and its files where they are on this machine."""
    return any(found.number == version and (found.folder is None or found.folder.is_dir())
               for found in versions(home, name))


def load_champion(home: Path, name: str, version: int | None = None) -> Path:
    """The package folder of the champion, or of a version, for `inference.Predictor.load`.

    Raises FolioError when there is none.
    """
    known = versions(home, name)
    if version is None:
        found = next((one for one in known if CHAMPION in one.aliases), None)
    else:
        found = next((one for one in known if one.number == version), None)
    if found is None:
        raise FolioError(_absent(name, version, [one.number for one in known]))
    package = fetched(home, found) / "data" / PACKAGE
    if not package.is_dir():
        raise FolioError(f"{name} version {found.number}: {package} is missing; release it again "
                         f"with: folio run {name} --only release")
    return package


def _absent(name: str, version: int | None, known: list[int]) -> str:
    if not known:
        return f"{name}: no model is registered; train one with: folio run {name}"
    numbers = ", ".join(map(str, known))
    if version is not None:
        return f"{name}: there is no version {version}; registered: {numbers}"
    return (f"{name}: no version is champion (registered: {numbers}); name one with --version, or "
            f"train another with: folio run {name}")
