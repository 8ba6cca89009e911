from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.declaration.catalog import CATALOG, shipped_names
from pipelines.declaration.load import FULL, has_sample, load_spec
from pipelines.declaration.reading.declared import pipeline_name
from pipelines.declaration.spec import Spec, operational, plain
from pipelines.errors import UsageError
from pipelines.run import grid
from pipelines.stages import STAGES
from tests.conftest import JAPANESE, NEXT_WORD, PLAY, REVIEWS, spec_of


@pytest.mark.parametrize("name", shipped_names())
def test_every_profile_of_the_catalog_is_valid(name: str) -> None:
    declared = yaml.safe_load((CATALOG / f"{name}.yaml").read_text(encoding="utf-8"))
    for profile in {FULL, *declared["profiles"]} - {"sample"}:
        own = ("source.path=mine.txt",) if profile.endswith("lines") else ()
        assert load_spec(name, profile, own).profile == profile
    if has_sample(name):
        assert Path(load_spec(name, "quick", sample=True).source.path).exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "registry: {{",
            "registry: {{slice_floors: {{length: 8}}, ",
            "length: is not measured; add",
        ),
        ("slices: [part", "slices: [length", "length is for batches.layout documents"),
        ("slices: [part", "slices: [genre", "evaluation.slices"),
        (
            "registry: {{",
            "registry: {{slice_floors: {{part: {{the end: 8}}}}, ",
            "no slice 'the end'; known: part 1 of 10",
        ),
        ("evaluation: {{", "evaluation: {{threshold: best, ", "threshold is for classifiers"),
    ],
)
def test_what_a_language_model_cannot_be_asked(declare, old: str, new: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_spec(str(declare("play-classified", PLAY.replace(old, new))))


def test_slices_of_running_text_are_no_classifiers(declare) -> None:
    with pytest.raises(UsageError, match="slices part is for language models"):
        load_spec(str(declare("reviews-in-parts", REVIEWS.replace("[length", "[part, length"))))
    lines = JAPANESE.replace("slices: [length, part]", "slices: [group]")
    with pytest.raises(UsageError, match="reader lines has neither groups nor files"):
        load_spec(str(declare("lines-in-groups", lines)))


def test_a_language_model_has_slice_floors_too(declare) -> None:
    floors = "registry: {{slice_floors: {{part: 7.5, speaker: {{MARIAN: 6}}}}, "
    declared = declare("play-floors", PLAY.replace("registry: {{", floors))
    assert load_spec(str(declared)).registry.slice_floors == {"part": 7.5, "speaker": {"MARIAN": 6}}


def test_the_floor_may_be_the_best_baseline(declare) -> None:
    for name, text, floor in (
        ("better", REVIEWS, "floor: 0.1"),
        ("better-play", PLAY, "floor: 8.0"),
    ):
        declared = declare(name, text.replace(floor, "floor: baseline"))
        assert load_spec(str(declared)).registry.floor == "baseline"


def test_slice_floors_for_all_slices_or_for_some(declare) -> None:
    text = "slice_floors: {{length: 0.7, unknown_rate: {{none: 0.8}}}}"
    declared = declare("floors", REVIEWS.replace("floor: 0.1", text))
    floors = load_spec(str(declared)).registry.slice_floors
    assert floors == {"length": 0.7, "unknown_rate": {"none": 0.8}}


def test_a_context_is_for_running_text(declare) -> None:
    for name, text, message in (
        (
            "windows",
            NEXT_WORD.replace("evaluation: {{", "evaluation: {{context: 4, "),
            "evaluation.context: with batches.layout windows, text is generated from",
        ),
        (
            "reviews",
            REVIEWS.replace("evaluation: {{", "evaluation: {{context: 4, "),
            "evaluation.context is for language models",
        ),
    ):
        with pytest.raises(UsageError, match=message):
            load_spec(str(declare(name, text)))
    play = declare("play-context", PLAY.replace("evaluation: {{", "evaluation: {{context: 4, "))
    assert load_spec(str(play)).evaluation.context == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("epochs: 2", "epocs: 2"), ":8: unknown key training.epocs; did you mean epochs?"),
        (("training:", "trainin:"), ":8: unknown key trainin; did you mean training?"),
        (("embedding: 6", "embedding: -6"), ":7: model.embedding: input should be greater than 0"),
        (("cell: lstm", "cell: lstn"), ":7: model.cell: input should be 'simple', 'lstm', 'gru'"),
        (("kind: word", "kind: char"), "a classifier reads words"),
        (
            ("split: hash", "split: official"),
            "split official needs reader labelled-folders, not csv",
        ),
        (("label_column: sentiment", "text_column: review"), "given twice"),
        (("metric: accuracy", "metric: perplexity"), "is not measured for classifiers"),
        (("epochs: 2", "epochs: [2"), "not valid YAML"),
        (
            ("learning_rate: 0.02", "learning_rate: fast"),
            ":8: training.learning_rate: input should",
        ),
        (
            ("source: {{path: {samples}/reviews.csv}}", "source: {{}}"),
            "give one of url, path and tfds",
        ),
        (("corpus: {{", "corpus: {{start: A, "), ":3: corpus: start and end cut running text"),
        (("corpus: {{", "corpus: {{length: [9, 8], "), ":3: corpus: length [9, 8]: the minimum"),
        (("corpus: {{", "corpus: {{markup: wiki40b, "), "reader tfds interprets markup, not"),
        (
            ("reader: csv, split: hash", "reader: labelled-folders, split: hash, group: author"),
            "reader labelled-folders has the group film, not author",
        ),
        (
            (
                "reader: csv, split: hash",
                "reader: labelled-folders, split: official, length: [1, 9]",
            ),
            "would remove documents from an official test split",
        ),
        (("path: {samples}/reviews.csv", "tfds: imdb reviews"), "write NAME, NAME/CONFIG or NAME"),
        (("path: {samples}/reviews.csv", "tfds: a, sha256: b"), "sha256 is for files; pin a TFDS"),
        (
            ("path: {samples}/reviews.csv", "tfds: imdb_reviews"),
            "corpus.reader csv cannot read source.tfds; use reader tfds",
        ),
        (
            ("floor: 0.1", "margin: -0.1"),
            ":10: registry.margin: input should be greater than or equal",
        ),
        (("floor: 0.1", "confidence: 95"), ":10: registry.confidence: input should be less than 1"),
        (("floor: 0.1", "floor: baselin"), ":10: registry.floor: input should be a valid number, "),
        (("floor: 0.1", "floor: baselin"), "unable to parse string as a number or 'baseline'"),
        (
            ("floor: 0.1", "slice_floors: {{length: baseline}}"),
            ":10: registry.slice_floors.length: input should be a valid number",
        ),
        (("floor: 0.1", "slice_floors: {{lenght: 0.7}}"), ":10: registry.slice_floors"),
        (
            ("floor: 0.1", "slice_floors: {{length: {{over 500: 0.7}}}}"),
            "registry.slice_floors.length: no slice 'over 500'; known: up to "
            "25, up to 50, up to 100, up to 200, up to 400, over 400",
        ),
        (
            (
                "slices: [length, unknown_rate]}}\nregistry: {{metric: accuracy,",
                "slices: [length]}}\nregistry: {{slice_floors: {{unknown_rate: "
                "0.7}}, metric: accuracy,",
            ),
            "registry.slice_floors.unknown_rate: is not measured; add it to evaluation.slices",
        ),
        (
            ("metric: accuracy, floor", "slice_floors: {{length: 0.7}}, metric: roc_auc, floor"),
            "roc_auc is not measured for slices",
        ),
        (
            ("evaluation: {{", "evaluation: {{threshold: 1.5, "),
            ":9: evaluation.threshold: input sh",
        ),
        (("corpus: {{", "corpus: {{duplicates: keep, "), ":3: corpus.duplicates: input should be"),
    ],
)
def test_a_wrong_declaration_names_file_line_and_key(
    declare, change: tuple[str, str], message: str
) -> None:
    assert change[0] in REVIEWS
    path = declare("wrong", REVIEWS.replace(*change))
    with pytest.raises(UsageError) as error:
        load_spec(str(path))
    assert str(error.value).startswith(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "labels"),
    [
        ("[0, 1]", ("0", "1")),
        ("[no, yes]", ("no", "yes")),
        ("[False, True]", ("False", "True")),
        ("[0.0, 1.0]", ("0.0", "1.0")),
        ("[null, 2026-01-01]", ("null", "2026-01-01")),
        ("[' ham', \"e\\u0301\"]", ("ham", "\u00e9")),
        ("[[1], 2]", "corpus.labels: input should be a valid string"),
        ("[sport, politics, science]", ("sport", "politics", "science")),
        ("null", None),
        ("[a]", "a classifier has 2 to 1,000 labels, not 1"),
        (f"[{', '.join(map(str, range(1001)))}]", "2 to 1,000 labels, not 1,001"),
        ("[ham, spam, ham]", "the label 'ham' is given twice"),
        ("ham", "give a list of labels, not 'ham'"),
    ],
)
def test_labels_are_read_as_they_are_written(declare, written: str, labels: object) -> None:
    column = "label_column: sentiment"
    path = str(declare("labelled", REVIEWS.replace(column, f"{column}, labels: {written}")))
    if isinstance(labels, str):
        with pytest.raises(UsageError) as error:
            load_spec(path)
        assert labels in str(error.value) and "\n" not in str(error.value)
    else:
        assert load_spec(path).corpus.labels == labels
        assert load_spec(path, overrides=("corpus.labels=[0, 1]",)).corpus.labels == ("0", "1")
        with pytest.raises(UsageError, match="put them in quotation marks"):
            load_spec(path, overrides=("corpus.labels=[no, yes]",))


def test_impossible_language_models_are_refused(declare) -> None:
    for change, message in [
        (("cell: gru", "bidirectional: true"), "see the token that it predicts"),
        ((", sequence_length: 50", ""), "needs batches.sequence_length"),
        (("kind: char", "kind: char, max_tokens: 9"), "would cut the running text"),
        (("split: contiguous", "split: hash"), "is one document"),
        (("corpus: {{", "corpus: {{length: [1, 9], "), "would leave out the whole text"),
        (("corpus: {{", "corpus: {{group: film, "), "reader text has no groups"),
        (("reader: text", "reader: lines, end: FIN"), "reader lines does not support them"),
        (("reader: text", "reader: tfds"), "tfds reads source.tfds; for your own text"),
    ]:
        with pytest.raises(UsageError, match=message):
            load_spec(str(declare("wrong", PLAY.replace(*change))))


def test_options_of_network_and_training_that_make_no_sense_are_refused(declare) -> None:
    reviews, play = str(declare("reviews", REVIEWS)), str(declare("play", PLAY))
    two, tied = "model.units=[4, 4]", "model.tie_embeddings=true"
    sampled = "training.sampled_softmax=8"
    adversarial, custom = "training.adversarial={kind: virtual}", "training.loop=custom"
    for pipeline, given, message in [
        (reviews, ("model.tie_embeddings=true",), "tie_embeddings is for language models"),
        (reviews, ("model.residual=true",), "residual needs a second layer"),
        (reviews, ("model.units=[4, 5]", "model.residual=true"), r"units \[4, 5\] must be equal"),
        (reviews, ("model.dropout.between=0.1",), "dropout.between needs a second layer"),
        (reviews, ("model.dropout.wrod=0.1",), "unknown key model.dropout.wrod; did you mean word"),
        (reviews, ("model.dropout.word=1",), "model.dropout.word: input should be less than 1"),
        (reviews, ("model.dropout=[0.1]",), "model.dropout: input should be a valid number"),
        (play, ("model.pool=mean",), "pool is for classifiers"),
        (play, ("model.dropout.dense=0.1",), "no dense layer and no projection"),
        (reviews, (adversarial,), "not in Keras's training step: set loop to custom"),
        (
            reviews,
            (adversarial, "training.loop=custom", "training.backend=jax"),
            "adversarial is written for tensorflow, not for jax",
        ),
        (reviews, ("training.adversarial={norm: 2}", custom), "training.adversarial.kind"),
        (reviews, ("training.adversarial={kind: virtual, norm: 0}", custom), "greater than 0"),
        (play, (adversarial, custom), "training.adversarial is for classifiers"),
        (play, ("training.schedule=cosine", "training.warmup=1"), "warmup: input should be less"),
        (play, ("training.weight_decay=1000",), "leaves nothing of the weights"),
        (play, ("training.average=1",), "average: input should be less than 1"),
        (play, (sampled,), "sampled_softmax needs a language model with model.tie_embeddings"),
        (play, (tied, sampled, "training.label_smoothing=0.1"), "label_smoothing spreads targets"),
        (play, (tied, sampled, "tokens.max_size=8"), "8 draws no fewer than tokens.max_size 8"),
        (play, ("training.devices=2",), "several devices need backend jax, not tensorflow"),
        (
            play,
            ("training.devices=3", "training.backend=jax"),
            r"batch_size \d+ cannot be divided among training.devices 3",
        ),
        (play, ("training.backend=torch",), "torch is not tested"),
    ]:
        with pytest.raises(UsageError, match=message) as error:
            load_spec(pipeline, overrides=given)
        assert "\n" not in str(error.value)
    rates = ("model.dropout={word: 0.1, between: 0.2}", "training.weight_decay=49")
    spec = load_spec(play, overrides=(two, "model.residual=true", *rates))
    assert spec.model.places.between == 0.2 and spec.model.places.output == 0


def test_what_a_carried_state_may_be_shuffled_with(declare) -> None:
    stateful = PLAY.replace("kind: language_model", "kind: language_model, stateful: true")
    lanes = str(declare("lanes", stateful))
    assert load_spec(lanes).training.shuffle is None
    assert load_spec(lanes, overrides=("training.shuffle=false",)).training.shuffle is False
    for layout in ("text", "rows"):
        load_spec(lanes, overrides=("training.shuffle=true", f"batches.layout={layout}"))
    load_spec("speeches", overrides=("training.shuffle=true",))  # documents


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
        PLAY.replace("{samples}/play.txt", "texts/a.txt").replace("{{", "{").replace("}}", "}")
    )
    assert load_spec(str(tmp_path / "mine.yaml")).source.path == str(tmp_path / "texts" / "a.txt")


OTHER = """\
source: {{url: "https://a.org/a.txt", sha256: abc, sample: play.txt}}
profiles:
  quick: {{training.epochs: 1}}
  lines: {{corpus.reader: lines, corpus.split: hash}}
"""


def test_a_text_of_ones_own_takes_the_declared_ones_place(
    declare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(declare("other", PLAY.replace("source: {{path: {samples}/play.txt}}\n", OTHER)))
    monkeypatch.chdir(tmp_path)
    for text in ("source.path=my/a.txt", "source.files=my/a.txt"):
        source = load_spec(path, overrides=(text,)).source
        assert (source.path, source.url, source.sha256) == (str(tmp_path / "my/a.txt"), (), ())
        assert source.sample == "play.txt"
    source = load_spec(path, overrides=("source.url=https://b.org/a.txt",)).source
    assert (source.url, source.sha256) == (("https://b.org/a.txt",), ("abc",))
    source = load_spec(path, overrides=("source={path: a.txt}",)).source
    assert (source.path, source.sample) == (str(tmp_path / "a.txt"), None)
    source = load_spec(
        path, overrides=("source.tfds=wiki40b/ja", "corpus.reader=tfds", "corpus.split=hash")
    ).source
    assert (source.tfds, source.url, source.sha256) == ("wiki40b/ja", (), ())


def test_profiles_joined_apply_in_order(declare) -> None:
    path = str(declare("other", PLAY.replace("source: {{path: {samples}/play.txt}}\n", OTHER)))
    spec = load_spec(path, "quick+lines", ("source.path=a.txt",))
    assert (spec.profile, spec.training.epochs) == ("quick+lines", 1)
    assert (spec.corpus.reader, spec.corpus.split) == ("lines", "hash")
    with pytest.raises(UsageError, match="no profile 'line'; did you mean lines"):
        load_spec(path, "quick+line")


# What changes no byte, or is in the key in another way: a file by its content, a seed as `seed`.
OPERATIONAL = {
    "code_folder",
    "corpus.seed",
    "source.max_bytes",
    "source.min_bytes_per_second",
    "source.path",
    "source.sample",
    "source.timeout_seconds",
    "training.checkpoint_every",
    "training.seed",
}


def test_operational_values_are_in_no_key(reviews: Path) -> None:
    assert operational() == OPERATIONAL
    keys = {key for stage in STAGES for key in plain(spec_of(reviews).select(stage.config))}
    assert "training.checkpoint_every" in keys  # a stage sees it, its key leaves it out
    assert operational() & keys == operational()


SCHEMA = Spec.model_json_schema()


def numbers(
    schema: dict[str, Any], key: str = "", shape: str = "{}"
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(dotted key, how a value of it is written, schema) of each number in a declaration."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    for one in schema.get("anyOf", ()):
        yield from numbers(one, key, shape)
    for name, one in schema.get("properties", {}).items():
        yield from numbers(one, f"{key}.{name}" if key else name)
    for one in [*schema.get("prefixItems", ()), *([schema["items"]] if "items" in schema else ())]:
        yield from numbers(one, key, shape.replace("{}", "[{}, {}]"))
    if isinstance(values := schema.get("additionalProperties"), dict) and key == "tune":
        for name, one in SCHEMA["$defs"]["TuneSpec"]["properties"].items():
            yield from numbers(one, key, f"{{training.epochs: {{{name}: {{}}}}}}")
    elif isinstance(values, dict) and key != "grids":
        inner = "over 400" if "{length: " in shape else "length"
        yield from numbers(values, key, shape.replace("{}", f"{{{inner}: {{}}}}"))
    if schema.get("type") in ("integer", "number"):
        yield key, shape, schema


NUMBERS = list(numbers(SCHEMA))


def test_every_number_has_bounds_that_the_schema_shows() -> None:
    assert len(NUMBERS) > 35 and len({key for key, _, _ in NUMBERS}) > 28
    for key, _, schema in NUMBERS:
        assert schema.keys() & {"minimum", "exclusiveMinimum"}, key
        assert schema.keys() & {"maximum", "exclusiveMaximum"}, key


@pytest.mark.parametrize(("key", "shape"), sorted({(key, shape) for key, shape, _ in NUMBERS}))
def test_no_number_is_infinite_huge_or_a_truth(
    reviews: Path, play: Path, key: str, shape: str
) -> None:
    required = tuple(
        one
        for section, one in (
            ("model.start_from", "model.start_from.pipeline=other"),
            ("training.adversarial", "training.adversarial.kind=virtual"),
        )
        if key.startswith(section)
    )
    for value in (
        ".inf",
        "-.inf",
        ".nan",
        "1e999",
        "'nan'",
        "99999999999999",
        "-99999999999999",
        "1e30",
        "true",
        "false",
        "0x" + "f" * 60,
        "9" * 5000,
    ):
        given = f"{key}={shape.replace('{}', value)}"
        with pytest.raises(UsageError) as error:
            load_spec(str(reviews), overrides=(*required, given))
        said = str(error.value)
        assert said.startswith(f"--set {key}: ") and "\n" not in said and len(said) < 500, given


def test_minus_zero_is_zero(reviews: Path) -> None:
    for text in ("model.dropout=-0.0", "model.dropout=-0"):
        dropout = load_spec(str(reviews), overrides=(text,)).model.dropout
        assert str(dropout) == "0.0"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("model.units=[65536]",), "its weights alone would need 137 GB, the limit is 16 GB"),
        (("model.units=[9000, 9000, 9000, 9000]",), "its weights alone would need 26 GB"),
        (("model.embedding=4096", "tokens.max_size=1000000"), "or tokens.max_size"),
        (("batches.buckets=[100, 1000000]", "batches.batch_size=4096"), "one batch would need"),
    ],
)
def test_a_network_that_no_memory_holds_is_refused(
    reviews: Path, overrides: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        load_spec(str(reviews), overrides=overrides)
    assert message in str(error.value) and str(error.value).startswith(str(reviews))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("profile=quick", "--set profile: choose a profile with --profile"),
        ("name=other", "--set name: the file name is the pipeline's name; rename the file"),
        ("sample=true", "--set sample: use the small sample with --allow-sample"),
        (
            "profiles.quick.seed=2",
            "--set profiles.quick.seed: profiles are read only from the declaration",
        ),
        (
            "schedule.cron=0 3 * * *",
            "--set schedule.cron: a schedule is read only from the declaration",
        ),
        ("source.sample=a.txt", "--set source.sample: it is read only from the declaration"),
        ("model.builder=os:system", "--set model.builder: code is named only in the declaration"),
        ("corpus={transform: os:system}", "--set corpus: code is named only in the declaration"),
        ("code_folder=/srv", "--set code_folder: it is that of the declaration"),
        ("folder=/srv", "--set folder: unknown key folder"),
        ("title.x=1", "--set title.x: unknown key title.x: title is a single value"),
        ("=2", "--set =2: write key=value"),
        ("source.path=~nobody-at-all/a", "--set source.path: ~nobody-at-all/a: no such user"),
        (
            "model.units=*x",
            "--set model.units: the value is not valid YAML: found undefined alias 'x'",
        ),
        (
            "model.units=&x [*x]",
            "--set model.units: the value is not valid YAML: *x contains itself",
        ),
        ("seed=!!python/name:os.system x", "--set seed: the value is not valid YAML: could not"),
        (
            "seed=2020-99-99",
            "--set seed: the value is not valid YAML: '2020-99-99' is not a valid timestamp",
        ),
        ("seed=" + "[" * 5000, "--set seed: the value is not valid YAML: nested more than"),
    ],
)
def test_nothing_of_set_is_ignored_or_raises(reviews: Path, given: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        load_spec(str(reviews), overrides=(given,))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("profiles: {{quick: {{name: other}}}}", ":11: the file name is the pipeline's name"),
        ("name: Other One", ":11: name: use lower case letters, digits, - and _"),
        ("profile: quick", ":11: choose a profile with --profile"),
        ("sample: true", ":11: use the small sample with --allow-sample"),
        ("profiles: {{quick: {{sample: true}}}}", ":11: use the small sample with"),
        ("profiles: [quick]", ":11: profiles maps a name to key: value pairs"),
        (
            "schedule: {{cron: 0 3 * * *, zone: UTC}}",
            ":11: unknown key schedule.zone; did you mean",
        ),
    ],
)
def test_what_a_declaration_cannot_say(declare, line: str, message: str) -> None:
    path = declare("other-keys", REVIEWS + line + "\n")
    with pytest.raises(UsageError) as error:
        load_spec(str(path), "quick" if "profiles" in line else "full")
    assert str(error.value).startswith(f"{path}{message}")


def test_a_source_that_is_no_mapping_is_one_line(declare) -> None:
    for name, text in (("list", "[a]"), ("empty", "''"), ("sample", "{{url: a, sample: [1]}}")):
        source = "source: {{path: {samples}/reviews.csv}}"
        path = str(declare(name, REVIEWS.replace(source, f"source: {text}")))
        assert has_sample(path) == (name == "sample")
        with pytest.raises(UsageError):
            load_spec(path, sample=True)
        if name != "sample":
            with pytest.raises(UsageError, match=r":2: source: input should be a valid dict"):
                load_spec(path)


@pytest.mark.parametrize(
    ("called", "better"),
    [
        ("Wrong Name", "wrong-name"),
        ("My Novels (2)", "my-novels-2"),
        ("Émile", "emile"),
        ("小说", "my-texts"),
        ("_x", "x"),
        ("a" * 70, "a" * 64),
    ],
)
def test_a_file_that_is_called_what_no_pipeline_may_be(declare, called: str, better: str) -> None:
    path = declare(called, REVIEWS)
    with pytest.raises(UsageError) as error:
        load_spec(str(path))
    said = str(error.value)
    assert said.startswith(f"{path}: the file name is the pipeline's name; rename the file: ")
    assert said.endswith(f"such as {better}.yaml; or declare `name: {better}`")
    path.write_text(f"name: {better}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    assert load_spec(str(path)).name == pipeline_name(str(path)) == better


def test_a_pipeline_is_called_as_it_declares_or_as_its_file(declare) -> None:
    declared = str(declare("file", f"name: other\n{REVIEWS}"))
    assert (load_spec(declared).name, pipeline_name(declared)) == ("other", "other")
    assert pipeline_name(str(declare("file-2", REVIEWS))) == "file-2"
    assert (pipeline_name("./gone.yaml"), pipeline_name("imdb")) == ("gone", "imdb")


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("novels/", "path"),
        ("a text.txt", "path"),
        ("https://a.org/a.csv", "url"),
        ("file:///a.csv", "url"),
    ],
)
def test_a_source_may_be_its_path_or_address_alone(declare, text: str, origin: str) -> None:
    source = "source: {{path: {samples}/reviews.csv}}"
    own, other = REVIEWS.replace(source, f"source: {text}"), REVIEWS.replace(source, "source: x")
    for path, profile, given in (
        (declare("alone", own), "full", ()),
        (declare("profile", f"{other}profiles: {{{{p: {{{{source: {text}}}}}}}}}\n"), "p", ()),
        (declare("set", other), "full", (f"source={text}",)),
    ):
        found = load_spec(str(path), profile, given).source
        if origin == "url":
            assert (found.url, found.path) == ((text,), None)
        else:
            where = Path.cwd() if given else path.parent
            assert (found.url, found.path) == ((), str(where / text))


def test_a_single_layer_needs_no_brackets(declare) -> None:
    path = str(declare("units", REVIEWS.replace("units: [5]", "units: 64")))
    assert load_spec(path).model.units == (64,)
    assert load_spec(path, overrides=("model.units=8",)).model.units == (8,)
    for wrong in ("64.5", "0", "many", "true"):
        with pytest.raises(UsageError, match=r"--set model\.units: model\.units: input should"):
            load_spec(path, overrides=(f"model.units={wrong}",))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("training.epocs: [1, 2]", "unknown key training.epocs; did you mean epochs?"),
        ("corpus.length: [1, 2]", "only keys of tokens, batches, model, training can be tuned"),
        ("model: [1, 2]", "only keys of tokens, batches, model, training can be tuned"),
        ("model.units: []", "tuple should have at least 2 items"),
        ("model.units: 3", "input should be a valid dictionary"),
        ("model.units: {{low: 2}}", "give low and high, or choices"),
        ("model.units: {{low: 1, high: 2, choices: [1, 2]}}", "give low and high, or choices"),
        ("training.epochs: {{low: 2, high: 2}}", "low 2 must be below high 2"),
        ("training.epochs: {{low: 0, high: 2, log: true}}", "log needs a low above 0, not 0"),
        ("training.epochs: {{low: 1, high: 9, log: true, step: 2}}", "log and step are mutually"),
        ("training.epochs: {{low: 1, high: 9, step: 20}}", "step 20 must be above 0 and at most"),
        ("training.epochs: {{low: 1, hi: 9}}", "unknown key tune.training.epochs.hi"),
    ],
)
def test_a_search_space_is_checked_like_the_rest(declare, space: str, message: str) -> None:
    path = declare("tuned", REVIEWS + f"tune:\n  {space}\n")
    with pytest.raises(UsageError) as error:
        load_spec(str(path))
    assert str(error.value).startswith(f"{path}:12: ") and message in str(error.value)


def test_a_mapping_given_on_the_command_line_is_named_by_its_key(declare) -> None:
    path = declare("tuned", REVIEWS)
    with pytest.raises(UsageError, match=r"^--set training: training\.epochs: input should be"):
        load_spec(str(path), overrides=("training={epochs: none}",))


def test_a_grid_has_bounds_too(reviews: Path) -> None:
    spec = load_spec(str(reviews))
    assert grid.grid_of(spec, ["seed=1,2"]) == {"seed": (1, 2)}
    for given, message in (
        ("seed=*x", "--grid seed: the value is not valid YAML: found undef"),
        ("seed=1\n]", "--grid seed: the value is not valid YAML"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            grid.grid_of(spec, [given])
    keys = {f"k{i}": tuple(range(10)) for i in range(12)}
    with pytest.raises(UsageError, match="1,000,000,000,000 variants: the limit is 1000"):
        grid.variants(keys)
