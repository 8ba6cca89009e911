"""What a profile or --set changes, and what it leaves as declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.declaration.catalog import CATALOG, shipped_names
from pipelines.declaration.load import load_spec
from pipelines.errors import UsageError
from tests.conftest import REVIEWS

DROPPED = REVIEWS.replace("dense: 7", "dense: 7, dropout: {{word: 0.1, dense: 0.3}}")


def profiled(declare, quick: str, text: str = REVIEWS) -> str:
    braced = f"profiles: {{quick: {quick}}}\n".replace("{", "{{").replace("}", "}}")
    return str(declare("profiled", text + braced))


@pytest.mark.parametrize(
    "quick",
    [
        "{training.epochs: 1, training.patience: 3, model.units: [2]}",
        "{training: {epochs: 1, patience: 3}, model: {units: [2]}}",
        "{training: {epochs: 1}, training.patience: 3, model.units: [2]}",
        "{training.patience: 3, model: {units: [2]}, training: {epochs: 1}}",
    ],
)
def test_nested_and_dotted_keys_mean_the_same(declare, quick: str) -> None:
    path = profiled(declare, quick)
    declared, spec = load_spec(path), load_spec(path, "quick")
    assert (spec.training.epochs, spec.training.patience, spec.model.units) == (1, 3, (2,))
    assert spec.training.learning_rate == 0.02 and spec.model.dense == 7  # as declared
    assert spec.corpus == declared.corpus and spec.source == declared.source


def nested(changes: dict[str, Any]) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if name:
            sections.setdefault(section, {})[name] = value
        else:
            sections[section] = value
    return sections


@pytest.mark.parametrize("name", shipped_names())
def test_each_profile_of_the_catalog_can_be_written_as_sections(name: str, tmp_path: Path) -> None:
    declared = yaml.safe_load((CATALOG / f"{name}.yaml").read_text(encoding="utf-8"))
    both = declared | {
        "profiles": {own: nested(changes or {}) for own, changes in declared["profiles"].items()}
    }
    (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(both), encoding="utf-8")
    for profile in declared["profiles"].keys() - {"sample"}:
        own = ("source.path=mine.txt",) if profile.endswith("lines") else ()
        spec = load_spec(str(tmp_path / f"{name}.yaml"), profile, own)
        assert spec == load_spec(name, profile, own)


def test_a_section_in_a_section_merges_too(declare) -> None:
    spec = load_spec(profiled(declare, "{model: {dropout: {word: 0.2}}}", DROPPED), "quick")
    assert (spec.model.dropout.word, spec.model.dropout.dense) == (0.2, 0.3)
    spec = load_spec(profiled(declare, "{model: {dropout.word: 0.2}}", DROPPED), "quick")
    assert (spec.model.dropout.word, spec.model.dropout.dense) == (0.2, 0.3)


def test_the_value_of_a_dotted_key_stays_whole(declare) -> None:
    spec = load_spec(profiled(declare, "{model.dropout: {word: 0.2}}", DROPPED), "quick")
    assert (spec.model.dropout.word, spec.model.dropout.dense) == (0.2, 0.0)
    floors = DROPPED.replace("floor: 0.1", "floor: 0.1, slice_floors: {{length: 0.7}}")
    quick = "{registry: {slice_floors: {unknown_rate: 0.8}}}"
    spec = load_spec(profiled(declare, quick, floors), "quick")
    assert spec.registry.slice_floors == {"unknown_rate": 0.8} and spec.registry.floor == 0.1


def test_profiles_joined_and_set_values_apply_in_order(declare) -> None:
    text = REVIEWS + (
        "profiles: {{a: {{training: {{epochs: 1, patience: 3}}}}, b: {{training.epochs: 5}}, "
        "c: {{training: {{epochs: 7}}}}, empty: }}\n"
    )
    path = str(declare("joined", text))
    assert load_spec(path, "a+b").training.epochs == 5
    assert load_spec(path, "b+a+empty").training.epochs == 1
    assert load_spec(path, "a+b+c").training.epochs == 7
    assert load_spec(path, "a+b+c").training.patience == 3
    training = load_spec(path, "a", ("training={epochs: 9}",)).training
    assert (training.epochs, training.patience, training.learning_rate) == (9, 3, 0.02)


def test_the_last_of_several_changes_wins_whatever_came_before(declare) -> None:
    changes = ("model.dropout={word: 0.1}", "model.dropout.dense=0.2", "model.dropout={output: 0}")
    dropout = load_spec(str(declare("last", REVIEWS)), overrides=changes).model.dropout
    assert (dropout.word, dropout.output) == (0.0, 0.0)


def test_a_nested_source_takes_the_declared_ones_place(declare) -> None:
    source = "source: {{url: 'https://a.org/a.csv', sha256: abc, max_bytes: 9}}"
    text = REVIEWS.replace("source: {{path: {samples}/reviews.csv}}", source)
    spec = load_spec(profiled(declare, "{source: {path: mine.csv}}", text), "quick")
    assert (spec.source.url, spec.source.sha256, spec.source.max_bytes) == ((), (), 9)
    spec = load_spec(profiled(declare, "{source: {max_bytes: 8}}", text), "quick")
    assert (spec.source.sha256, spec.source.max_bytes) == (("abc",), 8)


@pytest.mark.parametrize(
    ("quick", "message"),
    [
        ("{training.epochs: 1, training: {epochs: 2}}", "training.epochs is given twice"),
        ("{training: {epochs: 1}, training.epochs: 1}", "training.epochs is given twice"),
        ("{model: {dropout: {word: 0}}, model.dropout.word: 0}", "dropout.word is given twice"),
        ("{model: {dropout: {word: 0}, dropout.word: 0}}", "dropout.word is given twice"),
        ("{training: {epocs: 1}}", "unknown key training.epocs; did you mean epochs?"),
        ("{training: 3}", "training: input should be a valid dictionary"),
        ("{trainin: {epochs: 1}}", "unknown key trainin; did you mean training?"),
        ("{title: {epochs: 1}}", "title: input should be a valid string"),
        ("{model: {cell: {kind: lstm}}}", "model.cell: input should be"),
    ],
)
def test_what_a_profile_cannot_say_is_one_line(declare, quick: str, message: str) -> None:
    path = profiled(declare, quick)
    with pytest.raises(UsageError) as error:
        load_spec(path, "quick")
    said = str(error.value)
    assert said.startswith(f"{path}:11: ") and message in said and "\n" not in said


def test_a_mapping_replaces_a_single_value(declare) -> None:
    text = REVIEWS.replace("dense: 7", "dense: 7, dropout: 0.3")
    for quick in ("{model: {dropout: {word: 0.1}}}", "{model.dropout: {word: 0.1}}"):
        model = load_spec(profiled(declare, quick, text), "quick").model
        assert (model.dropout.word, model.dropout.dense, model.dense) == (0.1, 0.0, 7)
    with pytest.raises(UsageError, match=r"model\.dropout\.word: dropout is a single value"):
        load_spec(profiled(declare, "{model.dropout.word: 0.1}", text), "quick")
