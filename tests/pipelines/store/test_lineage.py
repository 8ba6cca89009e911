"""From a model to the bytes it came from, and back, on the manifests of tiny real runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.audit.provenance import became_of, came_from
from pipelines.errors import UsageError
from pipelines.registry.references import resolve
from pipelines.registry.versions import versions
from pipelines.run.retraining import retrain_plain
from pipelines.store.artifacts import Artifact
from pipelines.store.lineage import Graph, stored
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, artifact_of

SAMPLES = PROJECT / "data" / "samples"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def made(stage: str, name: str, content: str, when: int, **inputs: str) -> Artifact:
    manifest = {
        "stage": stage,
        "key": name,
        "digest": content,
        "inputs": inputs,
        "files": {},
        "created": f"2026-11-{when:02}T03:00:00Z",
        "counts": {},
    }
    return Artifact(stage, name, Path("store", stage, name), manifest)


# Twice the same words came out of the corpus; the model was trained between.
OLD = made("corpus", "old", "words", 1, source="here")
NEW = made("corpus", "new", "words", 9, source="there")
TOKENS = made("tokens", "tokens", "ids", 5, corpus="words")
LATER = made("tokens", "later", "other ids", 9, corpus="words")
SOURCES = [made("source", "first", "here", 1), made("source", "second", "there", 8)]
TWINS = Graph([NEW, LATER, TOKENS, OLD, *SOURCES])


def test_of_two_with_the_same_content_the_one_that_was_there_was_taken() -> None:
    assert TWINS.made_of(TOKENS) == {"corpus": OLD}
    assert TWINS.made_of(LATER) == {"corpus": NEW}
    assert TWINS.above([TOKENS]) == [TOKENS, OLD, SOURCES[0]]
    assert TWINS.below([SOURCES[0]]) == [SOURCES[0], OLD, TOKENS]
    assert TWINS.below([SOURCES[1]]) == [SOURCES[1], NEW, LATER]
    # Its own is gone: another with that content is as good.
    assert Graph([NEW, TOKENS]).made_of(TOKENS) == {"corpus": NEW}


def test_what_is_gone_is_said() -> None:
    graph = Graph([TOKENS])
    assert graph.made_of(TOKENS) == {"corpus": None}
    assert graph.above([TOKENS]) == [TOKENS]
    assert graph.gone([TOKENS]) == [
        {"stage": "corpus", "digest": "words", "needed_by": "tokens tokens"}
    ]
    assert graph.get("tokens", None, "ids") == graph.get("tokens", "tokens") == TOKENS
    assert graph.get("tokens", "nothing", "nothing") is None


def test_a_champion_leads_to_the_bytes_of_its_file(trained: Settings) -> None:
    document, graph, artifacts = came_from("tiny-play@champion", trained)
    assert document["kind"] == "version"
    assert document["version"] | {"created": "", "figures": {}, "reason": ""} == {
        "model": "tiny-play",
        "version": 1,
        "aliases": ["challenger", "champion"],
        "created": "",
        "verdict": "promote",
        "reason": "",
        "figures": {},
        "run": next(r["run"] for r in trained.runs if r["pipeline"] == "tiny-play"),
    }
    told = {one["stage"]: one for one in document["artifacts"]}
    assert list(told) == ["metrics", "model", "batches", "tokens", "corpus", "source"]
    for stage, one in told.items():
        artifact = artifact_of(trained, "tiny-play", stage)
        manifest = json.loads((artifact.path / "manifest.json").read_bytes())
        assert {
            name: manifest[name]
            for name in (
                "key",
                "digest",
                "run",
                "config",
                "code",
                "libraries",
                "git_commit",
                "created",
            )
        }.items() <= one.items()
        for name in manifest["inputs"] if stage != "source" else ():
            assert one["made_of"][name] == artifact_of(trained, "tiny-play", name).key
    play = SAMPLES / "play.txt"
    assert document["files"] == [
        {
            "name": "play.txt",
            "bytes": play.stat().st_size,
            "sha256": sha256(play),
            "from": "path",
            "address": str(play),
            "source": told["source"]["key"],
        }
    ]
    assert document["gone"] == [] and set(artifacts) <= set(stored(trained.store))
    assert graph.made_of(artifacts[-1]) == {}


def test_versions_runs_and_keys_can_be_named(trained: Settings) -> None:
    run = next(record["run"] for record in trained.runs if record["pipeline"] == "tiny-play")
    model = artifact_of(trained, "tiny-play", "model")
    stages = {
        text: [one["stage"] for one in came_from(text, trained)[0]["artifacts"]]
        for text in (
            "tiny-play@1",
            "tiny-play@challenger",
            "tiny-play",
            run,
            run[:-2],
            model.key,
            model.key[:12],
        )
    }
    everything = ["metrics", "model", "batches", "tokens", "corpus", "source"]
    assert stages["tiny-play@1"] == stages["tiny-play@challenger"] == everything
    assert stages["tiny-play"] == everything
    assert stages[run] == stages[run[:-2]] == ["report", "release", *everything]
    assert stages[model.key] == stages[model.key[:12]] == everything[1:]
    assert resolve("latest", trained).record == next(iter(trained.runs))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "nothing: not found; give NAME@VERSION"),
        (
            "tiny-play@7",
            r"tiny-play@7: there is no such version; registered: 1 \(challenger, champion\)",
        ),
        ("tiny@1", "no model tiny is registered"),
        ("20", "not found|2 runs named '20'"),
    ],
)
def test_what_names_nothing_is_told(trained: Settings, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve(text, trained)


def test_a_short_key_may_mean_several(trained: Settings, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / "store" / "tokens" / f"{number:064}").mkdir(parents=True)
    with pytest.raises(UsageError, match="several artifacts' keys start like this: tokens 0000"):
        resolve("000000", Settings.at(tmp_path))


def test_from_a_file_to_the_models_that_ate_it(
    trained: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    copy = shutil.copy(SAMPLES / "play.txt", tmp_path / "renamed.txt")
    source = artifact_of(trained, "tiny-play", "source")
    answers = [
        became_of(text, trained)[0]
        for text in (
            copy,
            "play.txt",
            sha256(SAMPLES / "play.txt"),
            sha256(SAMPLES / "play.txt")[:16],
            source.key,
        )
    ]
    for found in answers:
        assert [one["stage"] for one in found["artifacts"]] == [
            "source",
            "corpus",
            "tokens",
            "batches",
            "model",
            "metrics",
            "release",
            "report",
        ]
        assert {one["pipeline"] for one in found["artifacts"]} == {"tiny-play"}
        assert [one["pipeline"] for one in found["runs"]] == ["tiny-play"]
        assert [(one["model"], one["version"]) for one in found["versions"]] == [("tiny-play", 1)]
    assert all(found["found"] == answers[0]["found"] for found in answers[:-1])
    assert answers[0]["found"][0]["name"] == "play.txt"


def test_from_the_middle_down(trained: Settings) -> None:
    batches = artifact_of(trained, "tiny-reviews", "batches")
    found = became_of(batches.key[:10], trained)[0]
    assert [one["stage"] for one in found["artifacts"]] == [
        "batches",
        "model",
        "metrics",
        "release",
        "report",
    ]
    model = artifact_of(trained, "tiny-reviews", "model")
    found = became_of(str(model.path / "model.keras"), trained)[0]  # any file of an artifact
    assert [one["stage"] for one in found["artifacts"]] == ["model", "metrics", "release", "report"]


def test_other_bytes_under_the_same_name_are_told_apart(trained: Settings, tmp_path: Path) -> None:
    (tmp_path / "play.txt").write_text("MARIAN:\nNot this one.\n")
    read = sha256(SAMPLES / "play.txt")[:12]
    with pytest.raises(
        UsageError,
        match="no artifact has these bytes.*a file of that name with "
        f"other bytes is in source .*{read}",
    ):
        became_of(str(tmp_path / "play.txt"), trained)
    with pytest.raises(UsageError, match="is a folder"):
        became_of(str(tmp_path), trained)
    with pytest.raises(UsageError, match="no such file"):
        became_of("nowhere.txt", trained)


def test_a_version_whose_artifacts_are_gone(trained: Settings, tmp_path: Path) -> None:
    """The registry still knows what they were."""
    shutil.copytree(trained.home, tmp_path / "home")
    home = Settings.at(tmp_path / "home")
    for stage in ("tokens", "metrics"):
        shutil.rmtree(artifact_of(home, "tiny-play", stage).path)
    document: dict[str, Any] = came_from("tiny-play@1", home)[0]
    assert [one["stage"] for one in document["artifacts"]] == [
        "model",
        "batches",
        "corpus",
        "source",
    ]
    tags = versions(home.home, "tiny-play")[0].tags
    assert {
        "stage": "metrics",
        "digest": tags["folio.metrics.digest"],
        "needed_by": "tiny-play version 1",
    } in document["gone"]
    assert {one["stage"] for one in document["gone"]} == {"metrics", "tokens"}


def test_a_folder_of_files_is_told_file_by_file(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    (texts / "deep").mkdir(parents=True)
    for number, name in enumerate(("one.txt", "deep/two.txt")):
        (texts / name).write_text(f"Text number {number}.\n\nIt has two paragraphs.\n" * 30)
    (tmp_path / "mine.yaml").write_text(
        "source: {path: texts}\ncorpus: {reader: paragraphs, split: hash}\n"
        "tokens: {kind: char}\nbatches: {sequence_length: 20}\n"
        "model: {kind: language_model}\nregistry: {metric: perplexity}\n"
    )
    home = Settings.at(tmp_path / "home")
    from pipelines.run.options import Selection

    run = retrain_plain(
        str(tmp_path / "mine.yaml"),
        settings=home,
        notice=lambda text: None,
        selection=Selection.of(until="source"),
    )["run"]
    files = came_from(run, home)[0]["files"]
    assert {(one["name"], one["sha256"], one["from"], one["address"]) for one in files} == {
        (name, sha256(texts / name), "path", str(texts)) for name in ("one.txt", "deep/two.txt")
    }
    assert became_of("two.txt", home)[0]["found"][0]["name"] == "deep/two.txt"
