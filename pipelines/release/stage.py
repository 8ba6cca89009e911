"""The release stage: registers the model as an MLflow version and decides the champion.

Writes `release.json`: the verdict, the evidence, and the previous champion with its training data.
`registry/lookup.py` reads the registry; `registry/champions.py` changes the champion.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import FolioError
from pipelines.registry.champions import digests, journal_of, record, settle
from pipelines.registry.journal import withdrawn
from pipelines.registry.lookup import PACKAGE_TAG, figures_of
from pipelines.registry.mlflow_access import mlflow_at
from pipelines.registry.versions import (
    CHALLENGER,
    CHAMPION,
    Version,
    asked,
    bundled,
    champion_of,
    versions,
)
from pipelines.release.candidate import Candidate
from pipelines.release.drift import from_version
from pipelines.release.gate import Verdict, held, judge
from pipelines.release.mlflow_register import register
from pipelines.serving.registered import load_champion
from pipelines.store.artifacts import Inputs, Workspace

if TYPE_CHECKING:
    import mlflow

STEPS = 4
TRIES = 5  # others may change the champion while ours is being measured


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Register the model unless exactly this package is registered; decide the champion.

    Returns version, verdict, and what describes the version, with its number. Raises FolioError if
    the registry does not answer.
    """
    work.progress(0, STEPS, "steps: packing the model")
    new = Candidate.of(inputs, config, work.scratch / "staged")
    for _ in range(TRIES):
        work.progress(1, STEPS, "steps: comparing with the champion")
        known = versions(work.home, new.name)
        verdict = _judged(new, known, work.home)
        if (standing := new.standing(known)) is None or standing != champion_of(known):
            verdict = held(verdict, new.spec)
        work.progress(2, STEPS, "steps: opening the registry")
        with mlflow_at(work.home) as (mlflow, client):
            if champion_of(asked(client, work.home, new.name)) == champion_of(known):
                work.progress(3, STEPS, "steps: registering the model")
                number = _registered(mlflow, client, work.home, new, verdict)
                crowned = _crown(client, work.home, new, number, verdict)
                version = next(
                    one for one in asked(client, work.home, new.name) if one.number == number
                )
                break
    else:
        raise FolioError(
            f"{new.name}: others changed the champion {TRIES} times while this model was "
            "compared with it; run it again"
        )
    release = _release(new, version, verdict, champion_of(known), crowned)
    text = json.dumps(release, indent=1, ensure_ascii=False)
    (work.out / "release.json").write_text(text + "\n", encoding="utf-8")
    return {name: release[name] for name in ("version", "verdict", "package", "registered")}


def _judged(new: Candidate, known: list[Version], home: Path) -> Verdict:
    """Decided by what is known about both; they are compared only if that is not sufficient."""
    champion, standing = champion_of(known), new.standing(known)
    if champion is None:
        return judge(new.measured(), None, new.spec)
    if standing is not None and standing.number == champion.number:
        value = new.measured().value(new.spec.metric)
        return Verdict(
            "promote",
            f"{new.spec.metric} {value:.6g}: version {champion.number} is already the champion",
        )
    lines = journal_of(home).lines(new.name)
    figures = new.measured(withdrawn(lines, new.alike(known)))
    verdict = judge(figures, figures_of(champion), new.spec)
    if verdict.verdict != "inconclusive":
        return verdict
    evidence = new.challenger().evidence(
        champion.tags, lambda: load_champion(home, new.name, champion.number), new.spec
    )
    return judge(figures, figures_of(champion), new.spec, evidence)


def _registered(
    mlflow: Any, client: mlflow.MlflowClient, home: Path, new: Candidate, verdict: Verdict
) -> int:
    """The version's number: a new one, or that of the same package with an updated verdict."""
    evidence = verdict.evidence.as_json() if verdict.evidence else None
    tags = new.tags | {
        "folio.verdict": verdict.verdict,
        "folio.reason": verdict.reason,
        "folio.evidence": json.dumps(evidence),
    }
    standing = new.standing(asked(client, home, new.name))
    if standing is None:
        return register(mlflow, client, home, new, tags)
    for key, value in bundled(tags).items():
        client.set_model_version_tag(new.name, str(standing.number), key, value)
    return standing.number


def _crown(
    client: mlflow.MlflowClient, home: Path, new: Candidate, number: int, verdict: Verdict
) -> int | None:
    """Set the aliases and write the journal. Returns the version that is champion now."""
    client.set_registered_model_alias(new.name, CHALLENGER, str(number))
    settle(home, client, new.name)
    champion = champion_of(asked(client, home, new.name))
    before = champion.number if champion else None
    crowned = number if verdict.verdict == "promote" else before
    entry = {
        "verdict": verdict.verdict,
        "digests": digests(new.tags),
        "evidence": verdict.evidence.as_json() if verdict.evidence else None,
    }
    written = [
        line
        for line in journal_of(home).lines(new.name)
        if line["version"] == number
        and line["reason"] == verdict.reason
        and entry.items() <= line.items()
    ]
    if not written or crowned != before:
        record(
            home,
            client,
            new.name,
            action="release",
            version=number,
            champion=crowned,
            reason=verdict.reason,
            run=new.run,
            **entry,
        )
    return crowned


def _release(
    new: Candidate,
    version: Version,
    verdict: Verdict,
    champion: Version | None,
    crowned: int | None,
) -> dict[str, Any]:
    metric, evidence = new.spec.metric, verdict.evidence
    held = figures_of(champion).value(metric) if champion else None
    return {
        "name": new.name,
        "version": version.number,
        "verdict": verdict.verdict,
        "package": version.tags[PACKAGE_TAG],
        "registered": version.created,
        "mlflow_run": version.run,
        "reason": verdict.reason,
        "champion": crowned,
        "metric": metric,
        "value": new.measured().value(metric),
        "champion_value": evidence.champion if evidence and evidence.metric == metric else held,
        "evidence": evidence.as_json() if evidence else None,
        "sample": new.sample,
        "uri": f"models:/{new.name}@{CHAMPION if crowned else CHALLENGER}",
        "floor": new.spec.floor,
        "margin": new.spec.margin,
        "before": _before(champion, version),
        "drift": _drift(new, champion),
    }


def _before(champion: Version | None, version: Version) -> dict[str, Any] | None:
    """The number and the figures of the champion that the version was compared with, unless it was
    itself the champion."""
    if champion is None or champion.number == version.number:
        return None
    figures = figures_of(champion)
    return {
        "version": champion.number,
        "figures": {name: figures.value(name) for name in figures.values},
    }


def _drift(new: Candidate, champion: Version | None) -> dict[str, Any] | None:
    """Like `from_version`, or {version, not_compared: why}; None if there was no champion."""
    if champion is None:
        return None
    try:
        found = from_version(
            champion, new.store, new.sample, new.inputs["corpus"], new.inputs["tokens"]
        )
    except (FolioError, OSError, KeyError) as error:  # an artifact of an earlier Folio
        found = f"its text is not readable ({type(error).__name__}: {error})"
    if isinstance(found, dict):
        return found
    return {"version": champion.number, "not_compared": found}
