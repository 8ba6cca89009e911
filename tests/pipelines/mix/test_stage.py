"""The mix stage and what is around it: plan, keys, figures, report, garbage, rebuilding."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from flows.display import runs as display
from pipelines.audit.leaks import leaks
from pipelines.audit.provenance import came_from
from pipelines.audit.reproduction import reproduce
from pipelines.audit.verify import verify
from pipelines.declaration.load import load_spec
from pipelines.errors import UsageError
from pipelines.metrics.segments import SEGMENTS
from pipelines.mix import stage
from pipelines.registry.lookup import list_models
from pipelines.registry.references import resolve
from pipelines.run.plan import plan, recipe_of
from pipelines.run.validation import validation_figure
from pipelines.stages import STAGES, stage_named
from pipelines.store.artifacts import Artifact, Workspace, silent
from pipelines.store.settings import Settings
from pipelines.upkeep.collect import garbage, take_stock
from pipelines.upkeep.garbage import Policy
from tests.conftest import artifact_of
from tests.pipelines.mix.mixed_home import PLAY_NAME, REVIEWS_NAME, metrics_of
from tests.plain_stages import NAMES

BOTH = pytest.mark.parametrize("name", [REVIEWS_NAME, PLAY_NAME])


@pytest.mark.parametrize(
    ("name", "mix", "message"),
    [
        (REVIEWS_NAME, "n-gram", "mix n-gram is not for a classifier: use nb-svm"),
        (PLAY_NAME, "nb-svm", "mix nb-svm is not for a language model: use n-gram"),
        (PLAY_NAME, "cache", "mix: input should be 'nb-svm' or 'n-gram'"),
    ],
)
def test_what_does_not_fit_is_refused(
    pipelines: dict[str, Path], name: str, mix: str, message: str
) -> None:
    with pytest.raises(UsageError) as error:
        load_spec(str(pipelines[name]), overrides=(f"mix={mix}",))
    assert message.lower() in str(error.value).lower() and "\n" not in str(error.value)


@pytest.mark.slow
@BOTH
def test_undeclared_it_is_in_no_plan_and_in_no_key(
    mixed: Settings, pipelines: dict[str, Path], name: str
) -> None:
    spec = load_spec(str(pipelines[name]))
    with_mix = {one.stage: one for one in plan(spec, mixed)}
    assert list(with_mix) == [*NAMES[:5], "mix", *NAMES[5:]]
    assert {one.action for one in with_mix.values()} == {"reuse"}

    plain = load_spec(str(pipelines[name]), overrides=("mix=null",))
    without = {one.stage: one for one in plan(plain, mixed)}
    assert tuple(without) == NAMES
    for made in NAMES[:5]:
        assert (without[made].action, without[made].recipe) == ("reuse", with_mix[made].recipe)
    inputs = {made: artifact_of(mixed, name, made) for made in NAMES}
    for one in STAGES:
        if one.when is None:
            recipe = recipe_of(one, plain, inputs)
            assert "mix" not in recipe.inputs and "mix" not in recipe.config
    assert recipe_of(stage_named("metrics"), plain, inputs).inputs.keys() == {
        "model", "batches", "tokens", "corpus",
    }  # fmt: skip


def without_test(artifact: Artifact, folder: Path) -> Artifact:
    """The same without any file of the test split."""
    files = {
        file: entry for file, entry in artifact.manifest["files"].items() if "/test" not in file
    }
    assert len(files) < len(artifact.manifest["files"])
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path / file, folder / file)
    return Artifact(artifact.stage, artifact.key, folder, artifact.manifest | {"files": files})


@pytest.mark.slow
@BOTH
def test_the_weight_does_not_depend_on_the_test_split(
    mixed: Settings, pipelines: dict[str, Path], tmp_path: Path, name: str
) -> None:
    before = artifact_of(mixed, name, "mix")
    inputs = {"model": artifact_of(mixed, name, "model")} | {
        one: without_test(artifact_of(mixed, name, one), tmp_path / one)
        for one in ("batches", "tokens", "corpus")
    }
    out = tmp_path / "out"
    out.mkdir()
    config = load_spec(str(pipelines[name])).select(stage_named("mix").config)
    counts = stage.build(inputs, config, Workspace(out, tmp_path, tmp_path, silent))
    assert counts == before.counts and 0.1 < counts["weight"] < 0.9
    assert {file.name for file in out.iterdir()} == set(before.manifest["files"])
    for file in out.iterdir():
        assert file.read_bytes() == (before.path / file.name).read_bytes(), file.name


@pytest.mark.slow
@BOTH
def test_the_figures_are_the_mixed_models_and_the_network_stands_beside_them(
    mixed: Settings, name: str
) -> None:
    metrics, counts = metrics_of(mixed, name), artifact_of(mixed, name, "mix").counts
    alone, headline = metrics["alone"], metrics["headline"]
    kind = "NB-SVM" if name == REVIEWS_NAME else "3-gram"
    assert metrics["mix"] == {"with": kind, "weight": counts["weight"]}
    figure = "log_loss" if name == REVIEWS_NAME else "bits_per_character"
    assert headline[figure] < alone[figure]
    # A little of each is better than either.
    assert headline[figure] < metrics["baselines"][kind][figure]
    for key, between in alone["difference"].items():
        assert between["effect"] == pytest.approx(headline[key] - alone[key])
        assert between["low"] <= between["effect"] <= between["high"]
    folder = artifact_of(mixed, name, "metrics").path
    rows = pq.read_table(folder / "predictions.parquet")
    assert sum(rows["nats"].to_pylist()) == pytest.approx(metrics["sums"]["nats"])
    if name == PLAY_NAME:
        segments = pq.read_table(folder / SEGMENTS)
        assert sum(segments["nats"].to_pylist()) == pytest.approx(metrics["sums"]["nats"])
        assert alone["tokens"] == metrics["sums"]["tokens"]


@pytest.mark.slow
@BOTH
def test_a_run_and_its_report_say_it_in_a_line(
    mixed: Settings, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    record = next(one for one in mixed.runs if one["pipeline"] == name)
    metrics = metrics_of(mixed, name)
    line = record["mix"]
    assert line.startswith(
        f"with {metrics['mix']['with']}, weight {metrics['mix']['weight']:.2f}: "
    )
    assert "its recurrent model alone" in line
    display.summary([record])
    display.run(record)
    assert capsys.readouterr().out.count(line) == 2
    ((version,),) = (one["versions"] for one in list_models(mixed.home, name))
    assert version["mix"] == line
    page = (artifact_of(mixed, name, "report").path / "report.html").read_text(encoding="utf-8")
    assert line in page and f"this model, with {metrics['mix']['with']}" in page
    assert page.count("recurrent model alone</th>") == 1


@pytest.mark.slow
@BOTH
def test_settings_are_chosen_by_the_mixed_figure_on_validation(mixed: Settings, name: str) -> None:
    record = next(one for one in mixed.runs if one["pipeline"] == name)
    metric = "log_loss" if name == REVIEWS_NAME else "perplexity"
    counts = artifact_of(mixed, name, "mix").counts
    alone = artifact_of(mixed, name, "model").counts["best"]
    key = "validation_loss" if name == REVIEWS_NAME else "validation_perplexity"
    assert validation_figure(record, mixed.store, metric) == counts[key] < alone[key]


@pytest.mark.slow
@BOTH
def test_lineage_garbage_and_checks_know_it(mixed: Settings, name: str) -> None:
    found, _, _ = came_from(f"{name}@1", mixed)
    assert "mix" in {one["stage"] for one in found["artifacts"]} and found["gone"] == []
    assert verify(mixed.home, mixed.store.root, silent, name).problems == []
    assert garbage(take_stock(mixed), mixed, Policy(runs=1, days=0)) == []
    above = {one: artifact_of(mixed, name, one) for one in (*NAMES[:6], "mix")}
    assert list(leaks(above)) == []


@pytest.mark.slow
def test_an_altered_mix_is_found(copied: Settings) -> None:
    weights = artifact_of(copied, REVIEWS_NAME, "mix").path / "weights.npy"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    problems = verify(copied.home, copied.store.root, silent, REVIEWS_NAME).problems
    assert any("mix artifact" in one and "weights.npy" in one for one in problems)


@pytest.mark.long
@BOTH
def test_it_is_rebuilt_bit_for_bit(mixed: Settings, tmp_path: Path, name: str) -> None:
    found = reproduce(resolve(f"{name}@1", mixed), mixed, tmp_path / "again")
    assert found["agrees"]
    assert [one["stage"] for one in found["stages"]] == [*NAMES[:5], "mix", "metrics"]


@pytest.mark.slow
def test_its_files_are_data_alone(mixed: Settings) -> None:
    for name in (REVIEWS_NAME, PLAY_NAME):
        artifact = artifact_of(mixed, name, "mix")
        for file in artifact.manifest["files"]:
            if file == "mix.json":
                assert json.loads((artifact.path / file).read_bytes())["weight"]
            else:
                assert len(np.load(artifact.path / file, allow_pickle=False))
