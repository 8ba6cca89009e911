from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.declarations import catalog_names, has_sample, load_spec, profile_names
from pipelines.errors import UsageError
from pipelines.spec import operational, plain
from pipelines.stages import STAGES
from tests.conftest import PLAY, REVIEWS, spec_of


@pytest.mark.parametrize("name", catalog_names())
def test_every_profile_of_the_catalog_is_valid(name: str) -> None:
    for profile in profile_names(name):
        assert load_spec(name, profile).profile == profile
    if has_sample(name):
        assert Path(load_spec(name, "quick", sample=True).source.path).exists()


@pytest.mark.parametrize(("change", "message"), [
    (("epochs: 2", "epocs: 2"), ":8: unknown key training.epocs; did you mean epochs?"),
    (("training:", "trainin:"), ":8: unknown key trainin; did you mean training?"),
    (("embedding: 6", "embedding: -6"), ":7: model.embedding: input should be greater than 0"),
    (("cell: lstm", "cell: lstn"), ":7: model.cell: input should be 'simple', 'lstm', 'gru'"),
    (("kind: word", "kind: char"), "a classifier reads words"),
    (("split: hash", "split: official"), "split official needs reader labelled-folders, not csv"),
    (("label_column: sentiment", "text_column: review"), "given twice"),
    (("metric: accuracy", "metric: perplexity"), "is not measured on a classifier"),
    (("epochs: 2", "epochs: [2"), "not valid YAML"),
    (("learning_rate: 0.02", "learning_rate: fast"), ":8: training.learning_rate: input should"),
    (("source: {{path: {samples}/reviews.csv}}", "source: {{}}"), "give one of url, path and tfds"),
])
def test_a_wrong_declaration_names_file_line_and_key(
        declare, change: tuple[str, str], message: str) -> None:
    assert change[0] in REVIEWS
    path = declare("wrong", REVIEWS.replace(*change))
    with pytest.raises(UsageError) as error:
        load_spec(str(path))
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_impossible_language_models_are_refused(declare) -> None:
    for change, message in [
        (("cell: gru", "bidirectional: true"), "see the token that it predicts"),
        ((", sequence_length: 50", ""), "needs batches.sequence_length"),
        (("kind: char", "kind: char, max_tokens: 9"), "would cut the running text"),
        (("split: contiguous", "split: hash"), "is one document"),
    ]:
        with pytest.raises(UsageError, match=message):
            load_spec(str(declare("wrong", PLAY.replace(*change))))


def test_an_unknown_pipeline_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"imbd.*imdb, .*shakespeare"):
        load_spec("imbd")
    with pytest.raises(UsageError, match="no such declaration"):
        load_spec("./nowhere.yaml")


def test_profiles_and_overrides_apply_in_order(declare) -> None:
    text = REVIEWS + "profiles: {{quick: {{training.epochs: 1, seed: 7}}}}\n"
    path = str(declare("profiled", text))
    assert load_spec(path, "quick").training.epochs == 1
    assert load_spec(path, "quick", ("training.epochs=3",)).training.epochs == 3
    assert load_spec(path, "quick").seed == 7
    with pytest.raises(UsageError, match="no profile 'quikc'; did you mean quick"):
        load_spec(path, "quikc")
    with pytest.raises(UsageError, match=r"--set training\.epocs: unknown key"):
        load_spec(path, overrides=("training.epocs=3",))
    with pytest.raises(UsageError, match="write key=value"):
        load_spec(path, overrides=("training.epochs",))


def test_a_misspelt_key_in_a_profile_points_into_the_profile(declare) -> None:
    path = declare("profiled", REVIEWS + "profiles:\n  quick:\n    training.epocs: 1\n")
    with pytest.raises(UsageError, match=f"{path}:13: unknown key training.epocs"):
        load_spec(str(path), "quick")


def test_source_paths_are_beside_the_declaration(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        PLAY.replace("{samples}/play.txt", "texts/a.txt").replace("{{", "{").replace("}}", "}"))
    assert load_spec(str(tmp_path / "mine.yaml")).source.path == str(tmp_path / "texts" / "a.txt")


def test_operational_values_are_in_no_key(reviews: Path) -> None:
    assert "training.checkpoint_every" in operational()
    keys = {key for stage in STAGES for key in plain(spec_of(reviews).select(stage.config))}
    assert "training.checkpoint_every" in keys  # a stage sees it, its key leaves it out
    assert operational() & keys == operational()
