"""The figure that chooses is the one that scoring the validation split gives."""

from __future__ import annotations

import json
import math

import pyarrow.parquet as pq
import pytest

from pipelines.batches.dataset import Split
from pipelines.declaration.model_sections import ModelSpec
from pipelines.model.keras_file import load_model
from pipelines.model.scoring import Scorer
from pipelines.run.validation import measured, validation_figure
from pipelines.store.settings import Settings
from tests.conftest import artifact_of


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["tiny-reviews", "tiny-play", "tiny-japanese"])
def test_the_figure_is_that_of_the_models_scores(
    trained: Settings, writers: Settings, pipeline: str
) -> None:
    home = writers if pipeline == "tiny-japanese" else trained
    batches, model = (artifact_of(home, pipeline, stage) for stage in ("batches", "model"))
    split = Split(batches, "validation")
    spec = ModelSpec.model_validate(json.loads((model.path / "model.json").read_text())["model"])
    scored = list(Scorer(load_model(model.path / "model.keras"), spec).batches(split))
    nats = sum(float(one.nats.sum()) for one in scored)
    record = next(record for record in home.runs if record["pipeline"] == pipeline)

    def figure(metric: str) -> float:
        return validation_figure(record, home.store, metric)

    if spec.kind == "classifier":
        rows = sum(len(one.nats) for one in scored)
        right = sum(int(one.correct.sum()) for one in scored)
        assert figure("accuracy") == pytest.approx(right / rows)
        assert figure("log_loss") == figure("roc_auc") == pytest.approx(nats / rows)
        return
    tokens = sum(int(one.batch.real.sum()) for one in scored)
    assert figure("perplexity") == pytest.approx(math.exp(nats / tokens))
    shards = artifact_of(home, pipeline, "corpus").path.glob("documents/validation-*.parquet")
    texts = pq.read_table(sorted(shards), columns=["text"])["text"].to_pylist()
    # Of each text or lane, the first token is not predicted.
    characters = sum(map(len, texts))
    assert figure("nats_per_character") == pytest.approx(nats / characters, rel=0.02)
    assert figure("bits_per_character") == pytest.approx(figure("nats_per_character") / math.log(2))


def test_training_does_not_measure_roc_auc() -> None:
    assert measured("roc_auc") == "log_loss" and measured("accuracy") == "accuracy"
