"""A search goes the same way whether or not it was interrupted, and refuses what cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.declaration.catalog import shipped_names
from pipelines.declaration.load import load_spec
from pipelines.declaration.spec import Spec
from pipelines.errors import FolioError, UsageError
from pipelines.run import grid
from pipelines.run.search import Trial, profile_of, refuse_impossible, search_in, space_of
from pipelines.store.lineage import stored
from pipelines.store.settings import Settings
from tests.conftest import PLAY, spec_of
from tests.forked import exit_code
from tests.pipelines.run.searching import searched

SPACE = """
tune:
  training.learning_rate: {{low: 0.001, high: 0.1, log: true}}
  model.units: [[3], [5]]
"""
SMALL = PLAY.replace("epochs: 2", "epochs: 1") + SPACE
KEYS = ("training.learning_rate", "model.units", "model.dropout", "model.embedding")
WIDE = (
    "tune={training.learning_rate: {low: 1e-4, high: 1, log: true}, model.units: [[3], [5], [7]], "
    "model.dropout: {low: 0.0, high: 0.5, step: 0.05}, model.embedding: {low: 4, high: 64}}"
)


def declared_again(path: Path, *given: str) -> Any:
    """Loads the declaration with a variant's values."""
    return lambda variant: spec_of(path, *given, *grid.overrides(variant))


def told(home: Path, spec: Spec) -> list[Trial]:
    with search_in(home, spec) as search:
        return search.trials


@pytest.mark.long
def test_a_killed_search_continues_as_if_nothing_had_been(declare: Any, tmp_path: Path) -> None:
    """Killed when the second trial's model was trained; that trial is made again, to the bit."""
    path, log = str(declare("mine", SMALL)), tmp_path / "log"
    whole, cut = (str(tmp_path / name) for name in ("whole", "cut"))
    assert exit_code(log, searched, whole, path, 3) == 0, log.read_text()
    assert exit_code(log, searched, cut, path, 3, 2) == -9, log.read_text()
    spec = load_spec(path)
    assert [one.number for one in told(Path(cut), spec)] == [1]
    assert exit_code(log, searched, cut, path, 3) == 0, log.read_text()

    ends = [[(one.variant, one.value) for one in told(Path(home), spec)] for home in (whole, cut)]
    assert ends[0] == ends[1] and len(ends[0]) == 3
    assert len({value for _, value in ends[0]}) == 3
    for home in (whole, cut):
        store = Settings.at(Path(home)).store
        stages = {one.stage for one in stored(store)}
        assert stages == {"source", "corpus", "tokens", "batches", "model"}  # no test figure
        assert len(list(stored(store, "batches"))) == 1  # what trials share runs once
        assert len(list(stored(store, "model"))) == 3

    with search_in(Path(whole), spec) as search:
        assert search.best == min(search.trials, key=lambda one: one.value or 0)
        written = json.loads((search.folder / "tuning.json").read_text())
        assert written == search.as_json() and written["split"] == "validation"
        assert (search.folder / "tuning.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
def test_trials_do_not_depend_on_interruptions(play: Path, tmp_path: Path) -> None:
    """Also after the first ten, when values follow from the earlier trials; each search in the
    second home is left once in the middle of each trial."""
    spec = spec_of(play, WIDE)

    def failed(search: Any) -> None:
        variant = search.ask()
        search.fail(variant, "the loss is nan")

    with search_in(tmp_path / "whole", spec) as search:
        for _ in range(14):
            failed(search)
        whole = search.trials
        assert search.best is None
    for _ in range(14):
        with search_in(tmp_path / "cut", spec) as search:
            search.ask()
        with search_in(tmp_path / "cut", spec) as search:
            failed(search)
    assert told(tmp_path / "cut", spec) == whole
    assert [one.number for one in whole] == list(range(1, 15))
    assert len({json.dumps(one.variant) for one in whole}) == 14
    for one in whole:
        assert one.variant.keys() == set(KEYS)
        assert isinstance(one.variant["model.embedding"], int)
        declared_again(play)(one.variant)  # each is valid

    other = spec_of(play, WIDE, "seed=2")
    with search_in(tmp_path / "whole", other) as search:
        assert search.trials == [] and search.ask() != whole[0].variant


def test_a_search_belongs_to_one_process(play: Path, tmp_path: Path) -> None:
    spec = spec_of(play, WIDE)
    with (
        search_in(tmp_path, spec) as search,
        pytest.raises(FolioError, match="another process is at this search"),
        search_in(tmp_path, spec),
    ):
        pass
    (search.folder / "trials.db").write_text("no database, but a text that is long enough" * 99)
    with pytest.raises(FolioError, match=r"trials\.db: not a database of trials"):
        told(tmp_path, spec)


@pytest.mark.long
def test_figures_of_another_text_are_not_mixed_in(declare: Any, tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_text("Some words, and some more of them.\n" * 200)
    path = declare("mine", SMALL.replace("{samples}/play.txt", str(text)))
    log, home = tmp_path / "log", str(tmp_path / "home")
    assert exit_code(log, searched, home, str(path), 1) == 0, log.read_text()
    text.write_text("Quite another text, with other words in it.\n" * 200)
    assert exit_code(log, searched, home, str(path), 2) == 1
    assert "this search began with another text" in log.read_text()
    assert len(told(Path(home), load_spec(str(path)))) == 1


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{}", "tiny-play declares no `tune`"),
        ("{training.learning_rate: {low: 0.1, high: 5000}}", "training.learning_rate: 5000 is imp"),
        ("{model.cell: [gru, gruu]}", 'tune.model.cell: "gruu" is impossible: input should be'),
        ("{model.bidirectional: [false, true]}", "a bidirectional language model would see"),
        ("{model.cell: {low: 1, high: 9}}", "tune.model.cell: 1 is impossible"),
        ("{tokens.min_count: [1, 2]}", "perplexity depends on the tokens"),
    ],
)
def test_an_impossible_space_is_refused(play: Path, space: str, message: str) -> None:
    given = (f"tune={space}", "registry.metric=perplexity")
    with pytest.raises(UsageError) as error:
        refuse_impossible(spec_of(play, *given), declared_again(play, *given))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_what_is_possible_beside_another_value_is_tried(play: Path) -> None:
    given = "tune={model.residual: [false, true], model.units: [[8], [8, 8]]}"
    refuse_impossible(spec_of(play, given), declared_again(play, given))


def test_the_spaces_of_the_catalog_are_possible() -> None:
    specs = [spec for spec in map(load_spec, shipped_names()) if spec.tune]
    assert specs
    for spec in specs:
        refuse_impossible(
            spec, lambda variant, name=spec.name: load_spec(name, "full", grid.overrides(variant))
        )


def test_the_best_trial_is_a_profile_to_paste(declare: Any) -> None:
    variant = {"training.learning_rate": 0.0000123, "model.units": [5], "model.cell": "lstm"}
    common = ("training.epochs=3", "training.clip_norm=1.0")
    profile = profile_of(Trial(1, variant, 2.0), common)
    pasted = load_spec(str(declare("pasted", PLAY + profile + "\n")), "tuned")
    tried = spec_of(declare("tried", PLAY), *common, *grid.overrides(variant))
    for section in ("model", "training"):
        assert getattr(pasted, section) == getattr(tried, section)


def test_a_space_on_the_command_line() -> None:
    (override,) = space_of(["model.units=[[8], [16]]", "seed={low: 1, high: 2}"])
    assert override == 'tune={"model.units": [[8], [16]], "seed": {"low": 1, "high": 2}}'
    assert space_of([]) == ()
    with pytest.raises(UsageError, match="--space model: write key=values"):
        space_of(["model"])
