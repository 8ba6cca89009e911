"""The home's catalog: pipelines of one's own beside Folio's, with all that follows from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from flows.deployments import deployments, text_of, upstream
from pipelines.declaration.catalog import catalog_names, declaration_file, own_names, shipped_names
from pipelines.declaration.load import absolute, load_catalog, load_spec
from pipelines.errors import UsageError
from pipelines.run.namesake import refuse_namesake
from pipelines.run.options import Selection
from pipelines.run.plan import plan
from pipelines.run.retraining import retrain_plain
from pipelines.run.upstream import chain
from pipelines.store.settings import Settings
from pipelines.upkeep.dashboard import page_state
from pipelines.upkeep.own_catalog import add, remove
from pipelines.upkeep.pipeline_health import declarations, schedules
from tests.conftest import PLAY, declared

OWN = PLAY.replace("{samples}/play.txt", "text.txt")
SCHEDULED = OWN + "schedule: {{cron: '0 3 * * *', timezone: Europe/Berlin}}\n"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FOLIO_HOME", str(tmp_path / "home"))
    return Settings.at(tmp_path / "home")


def project(folder: Path, text: str = OWN, name: str = "letters") -> str:
    folder.mkdir(exist_ok=True)
    (folder / "text.txt").write_text(f"The text of {folder.name}.\n")
    return str(declared(folder, name, text))


def test_an_added_pipeline_is_known_by_its_name(tmp_path: Path, home: Settings) -> None:
    file = project(tmp_path / "one")
    assert own_names() == [] and add(file, home).name == "letters"
    assert catalog_names() == [*shipped_names(), "letters"]
    assert load_spec("letters") == load_spec(file)
    assert load_spec("letters").source.path == str(tmp_path / "one" / "text.txt")
    assert plan(load_spec("letters"), home)[0].as_json()["reason"] == "not built yet"
    specs, wrong = load_catalog()
    assert specs["letters"].title == "Tiny play" and not wrong
    add(file, home)  # again: nothing changes
    assert own_names() == ["letters"]


def test_a_change_of_the_file_is_seen(tmp_path: Path, home: Settings) -> None:
    add(project(tmp_path / "one"), home)
    project(tmp_path / "one", OWN.replace("units: [11]", "units: [12]"))
    assert load_spec("letters").model.units == (12,)


def test_its_runs_are_the_same_by_name_and_by_path(tmp_path: Path, home: Settings) -> None:
    file, until = project(tmp_path / "one"), Selection.of(until="source")
    add(file, home)
    retrain_plain("letters", settings=home, selection=until, notice=lambda text: None)
    project(tmp_path / "one", OWN.replace("units: [11]", "units: [12]"))
    retrain_plain(file, settings=home, selection=until, notice=lambda text: None)
    assert [record["declared"] for record in home.runs] == [file, file]
    remove("letters")
    assert [one.state for one in declarations(home)] == ["ok"]  # its runs still have a declaration
    assert absolute("imdb") == "imdb"


def test_it_is_deployed_as_folios_own(tmp_path: Path, home: Settings) -> None:
    add(project(tmp_path / "one", SCHEDULED), home)
    specs, _ = load_catalog()
    listed = yaml.safe_load(text_of(specs))["deployments"]
    assert listed == deployments(specs)["deployments"]
    found = {entry["entrypoint"]: entry for entry in listed if "letters" in entry["tags"]}
    assert found["flows.retrain.retrain"]["schedules"] == [
        {"cron": "0 3 * * *", "timezone": "Europe/Berlin"}
    ]
    assert found["flows.stage.stage"]["parameters"] == {"pipeline": "letters", "stage": "metrics"}


def test_it_is_watched_as_folios_own(tmp_path: Path, home: Settings) -> None:
    add(project(tmp_path / "one", SCHEDULED), home)
    [shown] = [one for one in page_state(home, NOW)["pipelines"] if one["pipeline"] == "letters"]
    assert shown["title"] == "Tiny play" and shown["freshness"]["state"] == "no scheduled run yet"
    assert shown["plan"]["stages"][0]["action"] == "run"
    record = retrain_plain(
        "letters", settings=home, selection=Selection.of(until="source"), notice=lambda text: None
    )
    stage = record["stages"][0] | {"stage": "release"}
    old = record | {"started": "2026-11-01T00:00:00Z", "stages": [stage], "overrides": []}
    (home.runs.folder / f"{record['run']}.json").write_text(json.dumps(old))
    assert "letters is late" in next(iter(schedules(home, NOW))).text


def test_its_upstream_is_looked_for_beside_its_file(tmp_path: Path, home: Settings) -> None:
    below = OWN.replace("units: [11]", "units: [11], start_from: {{pipeline: letters}}")
    file = project(tmp_path / "one", below, "second")
    beside = project(tmp_path / "one")
    add(file, home)
    assert chain("second") == [beside]
    assert upstream(load_catalog()[0]) == {
        "imdb": "imdb-lm",
        "speeches": "mysterious-island",
        "second": "letters",
    }


def test_a_taken_name_is_refused(tmp_path: Path, home: Settings) -> None:
    with pytest.raises(UsageError, match=r"imdb belongs to a pipeline of Folio; .*`name: my-imdb`"):
        add(project(tmp_path / "one", name="imdb"), home)
    first, second = project(tmp_path / "one"), project(tmp_path / "two")
    add(first, home)
    with pytest.raises(UsageError, match=f"letters is in the catalog already, for {first}; "):
        add(second, home)
    with pytest.raises(UsageError, match=f"belongs to another declaration, {first}"):
        refuse_namesake(second, home)  # though neither has run
    remove("letters")
    retrain_plain(first, settings=home, selection=Selection.of(until="source"))
    with pytest.raises(UsageError, match="belongs to another declaration"):
        add(second, home)
    assert own_names() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("source: x\n", "corpus is missing"),
        (
            OWN.replace("corpus: {{", "corpus: {{transform: clean:tidy, "),
            "there is no module clean",
        ),
        (OWN + "profiles: {{quick: {{training.epocs: 1}}}}\n", "unknown key training.epocs"),
        (
            OWN + "schedule: {{cron: '0 3 * * *', profile: qick}}\nprofiles: {{quick: null}}\n",
            "no profile 'qick'; did you mean quick",
        ),
    ],
)
def test_only_what_is_valid_is_added(text: str, said: str, tmp_path: Path, home: Settings) -> None:
    with pytest.raises(UsageError, match=said):
        add(project(tmp_path / "one", text), home)
    with pytest.raises(UsageError, match="give the path of a YAML file"):
        add("letters", home)
    assert own_names() == []


def test_a_bad_file_does_not_hide_the_others(tmp_path: Path, home: Settings) -> None:
    for name in ("bad", "gone", "renamed", "good"):
        add(project(tmp_path / name, name=name), home)
    project(tmp_path / "bad", "source: [\n", "bad")
    (tmp_path / "gone" / "gone.yaml").unlink()
    project(tmp_path / "renamed", f"name: other\n{OWN}", "renamed")
    (home.home / "catalog" / "._good.yaml").write_text("what a system adds")
    specs, wrong = load_catalog()
    assert {*specs} == {*shipped_names(), "good"}
    assert "not valid YAML" in wrong["bad"]
    assert (
        f"{tmp_path}/gone/gone.yaml, is gone; put it back, or run: folio remove gone"
        in (wrong["gone"])
    )
    assert "is named other now" in wrong["renamed"] and "folio remove renamed" in wrong["renamed"]
    assert not any("\n" in text for text in wrong.values())
    attention = {note["pipeline"]: note["text"] for note in page_state(home, NOW)["attention"]}
    assert attention == {name: f"cannot run: {text}" for name, text in wrong.items()}
    assert [one.text for one in declarations(home)] == list(wrong.values())
    assert list(schedules(home, NOW)) == []
    assert remove("gone") == tmp_path / "gone" / "gone.yaml"


def test_what_is_removed_is_only_the_link(tmp_path: Path, home: Settings) -> None:
    file = project(tmp_path / "one")
    add(file, home)
    assert str(remove("letters")) == file and Path(file).is_file()
    with pytest.raises(UsageError, match="unknown pipeline 'letters'"):
        declaration_file("letters")
    with pytest.raises(UsageError, match=r"letters is not in the home's catalog; .*: none"):
        remove("letters")
    with pytest.raises(UsageError, match="imdb is part of Folio"):
        remove("imdb")
