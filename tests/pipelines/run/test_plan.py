"""What `plan` says is what `run` does, and the reason is the true one."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.declaration.load import load_spec
from pipelines.errors import UsageError
from pipelines.run.changes import changes
from pipelines.run.options import Selection
from pipelines.run.plan import plan, recipe_of
from pipelines.run.retraining import retrain_plain
from pipelines.store.artifacts import Artifact, Recipe
from pipelines.store.settings import Settings
from tests.conftest import PROJECT, artifact_of
from tests.plain_stages import NAMES, STAGES

DATA_STAGES = Selection(stages=("source", "corpus", "tokens", "batches"))


@pytest.fixture
def home(trained: Settings, tmp_path: Path) -> Settings:
    """A copy of the home in which both tiny pipelines have run, to be changed at will."""
    shutil.copytree(trained.home, tmp_path / "home")
    return Settings.at(tmp_path / "home")


def actions(settings: Settings, path: Path, *overrides: str, **selected) -> dict[str, tuple]:
    spec = load_spec(str(path), overrides=overrides)
    selection = Selection.of(**selected) if selected else Selection()
    return {d.stage: (d.action, d.reason) for d in plan(spec, settings, selection)}


def test_nothing_changed_is_reused_and_says_so(home: Settings, reviews: Path) -> None:
    assert set(actions(home, reviews).values()) == {("reuse", "nothing changed")}
    record = retrain_plain(str(reviews), settings=home, notice=lambda text: None)
    assert record["state"] == "nothing-to-do"


def test_a_changed_setting_is_named_with_both_values(home: Settings, reviews: Path) -> None:
    said = actions(home, reviews, "training.epochs=3")
    assert said["batches"] == ("reuse", "nothing changed")
    assert said["model"] == ("run", "training.epochs 2 → 3")
    assert said["metrics"] == (
        "run",
        "model must run first; reused if the input bytes do not change",
    )
    assert said["release"][0] == "run"


def test_a_changed_value_of_a_mapping_is_named(home: Settings, reviews: Path) -> None:
    given = {"batches": artifact_of(home, "tiny-reviews", "batches")}
    model = next(stage for stage in STAGES if stage.name == "model")

    def recipe(dropout: str):
        spec = load_spec(str(reviews), overrides=(f"model.dropout={dropout}",))
        return recipe_of(model, spec, given)

    before = vars(recipe("{word: 0.1, output: 0.2}"))
    assert changes(recipe("{word: 0.3, output: 0.2}"), before) == ["model.dropout.word 0.1 → 0.3"]
    assert changes(recipe("0.5"), before) == [
        "model.dropout {'word': 0.1, 'embedding': 0.0, 'recu… → 0.5"
    ]


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("training.devices=2", "training.devices 1 → 2"),
        ("training.threads=3", "training.threads 2 → 3"),
        ("training.loop=fit", None),  # as it is
        ("training.checkpoint_every=5", None),
    ],
)
def test_what_the_weights_depend_on_is_in_the_key_of_the_model(
    reviews: Path, override: str, reason: str | None
) -> None:
    inputs = {"batches": Artifact("batches", "", Path(), {"digest": "0"})}
    model = next(stage for stage in STAGES if stage.name == "model")

    def recipe(*overrides: str) -> Recipe:
        spec = load_spec(str(reviews), overrides=("training.backend=jax", *overrides))
        return recipe_of(model, spec, inputs)

    before, now = recipe(), recipe(override)
    assert changes(now, vars(before)) == ([reason] if reason else [])
    assert (now.key == before.key) == (reason is None)


def test_checkpoint_every_changes_nothing(home: Settings, reviews: Path) -> None:
    assert actions(home, reviews, "training.checkpoint_every=5")["model"][0] == "reuse"


def test_a_changed_module_is_named(
    home: Settings, reviews: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copy = tmp_path / "project"
    shutil.copytree(PROJECT / "pipelines", copy / "pipelines")
    monkeypatch.setattr("pipelines.store.fingerprint.PROJECT", copy)
    assert actions(home, reviews)["tokens"][0] == "reuse"
    with (copy / "pipelines" / "tokens" / "stage.py").open("a") as file:
        file.write("\nEXTRA = 1\n")
    said = actions(home, reviews)
    assert said["corpus"][0] == "reuse"
    assert said["tokens"] == ("run", "pipelines/tokens/stage.py changed")
    assert said["batches"][0] == said["release"][0] == "run"
    with (copy / "pipelines" / "tokens" / "vocabulary.py").open("a") as file:  # of three stages
        file.write("\nEXTRA = 1\n")
    assert actions(home, reviews)["tokens"][1] == (
        "pipelines/tokens/stage.py changed; pipelines/tokens/vocabulary.py changed"
    )


@pytest.mark.parametrize(
    ("room", "stage"), [("report", "report"), ("network", "source"), ("source", "source")]
)
def test_another_look_or_message_trains_scores_and_releases_nothing(
    home: Settings,
    reviews: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    room: str,
    stage: str,
) -> None:
    """Templates and plots shape the report alone, and how bytes are fetched no stage below."""
    copy = tmp_path / "project"
    shutil.copytree(PROJECT / "pipelines", copy / "pipelines")
    monkeypatch.setattr("pipelines.store.fingerprint.PROJECT", copy)
    changed = list((copy / "pipelines" / room).rglob("*.*"))
    assert len(changed) > 3
    for path in changed:
        with path.open("a") as file:
            file.write("\n{# changed #}\n" if path.suffix == ".html" else "\n# changed\n")
    record = retrain_plain(str(reviews), settings=home, notice=lambda text: None)
    done = {entry["stage"]: entry["action"] for entry in record["stages"]}
    assert done == dict.fromkeys(NAMES, "reuse") | {stage: "run"}


def test_moved_code_is_one_reason(home: Settings, reviews: Path) -> None:
    """As after an upgrade to a version whose modules stand in other folders."""
    recipe = recipe_of(STAGES[0], load_spec(str(reviews)), {})
    before = artifact_of(home, "tiny-reviews", "source").manifest
    assert changes(recipe, before) == []
    code = {f"pipelines/{Path(name).name}": digest for name, digest in before["code"].items()}
    assert changes(recipe, before | {"code": code}) == ["code moved to pipelines/source/stage.py"]


def test_early_cut_off(home: Settings, reviews: Path) -> None:
    """tokens made again with the same bytes spares everything below."""
    record = retrain_plain(
        str(reviews), overrides=("tokens.max_size=100000",), settings=home, notice=lambda text: None
    )
    done = {entry["stage"]: entry["action"] for entry in record["stages"]}
    assert done["tokens"] == "run"
    assert done["batches"] == done["model"] == done["metrics"] == "reuse"


@pytest.mark.parametrize("harm", ["flip", "missing", "no manifest"])
def test_damage_is_seen_named_and_repaired(home: Settings, reviews: Path, harm: str) -> None:
    artifact = artifact_of(home, "tiny-reviews", "tokens")
    victim = next((artifact.path / "tokens").glob("train-*.parquet"))
    if harm == "flip":
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    elif harm == "missing":
        victim.unlink()
    else:
        (artifact.path / "manifest.json").unlink()
    said = actions(home, reviews)
    assert said["tokens"][0] == "rebuild" and said["tokens"][1].startswith("artifact damaged")
    if harm != "no manifest":
        assert victim.name in said["tokens"][1]
        below = {said[name] for name in ("batches", "model", "metrics", "release", "report")}
        assert below == {("reuse", "nothing changed, if tokens is rebuilt with the same bytes")}
    record = retrain_plain(str(reviews), settings=home, notice=lambda text: None)
    done = {entry["stage"]: entry["action"] for entry in record["stages"]}
    assert done["tokens"] == "rebuild" and done["batches"] == "reuse"
    assert set(actions(home, reviews).values()) == {("reuse", "nothing changed")}


def test_a_damaged_release_says_nothing_about_the_report(home: Settings, reviews: Path) -> None:
    """Rebuilt it compares with the champion of now, so its bytes are others."""
    path = artifact_of(home, "tiny-reviews", "release").path / "release.json"
    path.write_bytes(path.read_bytes()[:-2])
    said = actions(home, reviews)
    assert said["release"][0] == "rebuild"
    assert said["report"] == (
        "run",
        "release must run first; reused if the input bytes do not change",
    )
    record = retrain_plain(str(reviews), settings=home, notice=lambda text: None)
    done = {entry["stage"]: entry["action"] for entry in record["stages"]}
    assert done["release"] == "rebuild" and done["report"] == "run"


def test_a_changed_file_of_the_users_own_is_noticed(tmp_path: Path, play: Path) -> None:
    text = Path(load_spec(str(play)).source.path)
    shutil.copy(text, tmp_path / "mine.txt")
    (tmp_path / "mine.yaml").write_text(play.read_text().replace(str(text), "mine.txt"))
    settings = replace(Settings.at(tmp_path / "home"))
    retrain_plain(
        str(tmp_path / "mine.yaml"),
        settings=settings,
        selection=DATA_STAGES,
        notice=lambda text: None,
    )
    assert actions(settings, tmp_path / "mine.yaml")["source"][0] == "reuse"
    with (tmp_path / "mine.txt").open("a") as file:
        file.write("MARIAN:\nOne more line.\n")
    said = actions(settings, tmp_path / "mine.yaml")
    assert said["source"] == ("run", "mine.txt changed")


def test_only_and_from_repeat_what_they_name(home: Settings, reviews: Path) -> None:
    only = actions(home, reviews, only="batches")
    assert list(only) == ["source", "corpus", "tokens", "batches"]
    assert only["batches"] == ("run", "rerun requested; nothing changed")
    since = actions(home, reviews, since="metrics")
    assert [stage for stage, (action, _) in since.items() if action == "run"] == [
        "metrics",
        "release",
        "report",
    ]
    before = artifact_of(home, "tiny-reviews", "batches")
    record = retrain_plain(
        str(reviews),
        settings=home,
        selection=Selection.of(only="batches"),
        notice=lambda text: None,
    )
    assert record["stages"][-1]["action"] == "run"
    assert home.store.open("batches", before.key).manifest == before.manifest  # the same bytes


def test_only_needs_what_lies_above(tmp_path: Path, reviews: Path) -> None:
    with pytest.raises(UsageError, match="there is no source artifact to build on"):
        retrain_plain(
            str(reviews),
            settings=Settings.at(tmp_path),
            selection=Selection.of(only="tokens"),
            notice=lambda text: None,
        )
    with pytest.raises(UsageError, match="are mutually exclusive"):
        Selection.of(only="tokens", since="model")


def test_a_version_deleted_from_the_registry_is_noticed(home: Settings, play: Path) -> None:
    with sqlite3.connect(home.home / "mlflow" / "mlflow.db") as registry:
        registry.execute("delete from model_version_tags where name = 'tiny-play'")
        registry.execute("delete from registered_model_aliases where name = 'tiny-play'")
        registry.execute("delete from model_versions where name = 'tiny-play'")
    said = actions(home, play)["release"]
    assert said == ("run", "this registry has no version of this package of tiny-play")
    record = retrain_plain(str(play), settings=home, notice=lambda text: None)
    assert record["stages"][-1]["action"] == "run" and record["version"] is not None
    assert set(actions(home, play).values()) == {("reuse", "nothing changed")}
