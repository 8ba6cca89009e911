"""The mix stage: trains the counting model that is mixed with the network, and weighs both.

Only pipelines with `mix` have it. The counting model learns from the train split, as the network
did; the weight is the one with the smallest log loss on the validation split. Writes `mix.json` and
the arrays of the counting model (`mixtures.py`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batches.dataset import Split
from pipelines.counting.kneser_ney import estimated, train_text
from pipelines.counting.linear_training import NB_SVM, logits, nb_svm, problem, train_documents
from pipelines.declaration.label_checks import FOR_TWO_LABELS
from pipelines.declaration.model_sections import ModelSpec
from pipelines.errors import FolioError
from pipelines.mix.mixed_network import MixedNetwork
from pipelines.mix.mixed_scorer import MixedScorer
from pipelines.mix.mixtures import ClassifierMixture, LanguageMixture
from pipelines.mix.weights import classifier_weights, language_weight, mixed_nats
from pipelines.model.backend import load_keras, make_reproducible
from pipelines.model.keras_file import load_model
from pipelines.model.scoring import Scored, Scorer
from pipelines.store.artifacts import Inputs, Workspace

if TYPE_CHECKING:
    import keras

VALIDATION = "validation"


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Returns the weight of the counting model, and the mixed model's figures on validation."""
    make_reproducible(load_keras(config["training.backend"], threads=config["training.threads"]))
    declared = json.loads((inputs["model"].path / "model.json").read_bytes())
    model = load_model(inputs["model"].path / "model.keras")
    spec = ModelSpec.model_validate(declared["model"])
    mixed = _with_nb_svm if config["mix"] == "nb-svm" else _with_ngrams
    return mixed(model, spec, inputs, config, work)


def _with_nb_svm(
    model: keras.Model, spec: ModelSpec, inputs: Inputs, config: dict[str, Any], work: Workspace
) -> dict[str, Any]:
    classes = Split(inputs["batches"], VALIDATION).classes
    if classes > 2:
        raise FolioError(f"mix: {FOR_TWO_LABELS['mix']}")
    work.progress(0, None, "n-grams counted")
    train = train_documents(inputs["corpus"], config["seed"])
    if why := problem(train):
        raise FolioError(f"mix nb-svm: {why}; remove mix from the declaration")
    used = len(train.ids)
    work.progress(0, None, "n-gram models trained")
    models = nb_svm(train)
    del train
    scored = list(_scored(Scorer(model, spec), inputs, work))
    own = np.concatenate([one.logit for one in scored])
    label = np.concatenate([one.batch.outcome for one in scored])
    names = [name for one in scored for name in one.batch.ids]
    ids, _, found = logits({NB_SVM: models}, inputs["corpus"], VALIDATION)
    places = pc.index_in(pa.array(names), value_set=pa.array(ids)).to_numpy()
    counted = [one[places] for one in found[NB_SVM]]
    weights = [classifier_weights(own, one, label) for one in counted]
    best = int(np.argmin([one.loss for one in weights]))
    loss, weight, factors = weights[best]
    mixture = ClassifierMixture(weight, factors, models[best])
    mixture.write(work.out)
    return {
        "weight": weight,
        "train_documents": used,
        "validation_loss": loss,
        "validation_accuracy": float(
            ((mixture.logit(own, counted[best]) > 0) == (label > 0.5)).mean()
        ),
    }


def _with_ngrams(
    model: keras.Model, spec: ModelSpec, inputs: Inputs, config: dict[str, Any], work: Workspace
) -> dict[str, Any]:
    work.progress(0, None, "n-grams counted")
    split, order = Split(inputs["batches"], VALIDATION), config["evaluation.baseline_order"]
    train = train_text(inputs["tokens"], split.layout in ("rows", "lanes"))
    if not len(train.ids):
        raise FolioError("mix n-gram: the train split is empty; remove mix from the declaration")
    ngrams = estimated(train, order, split.metadata["vocabulary_size"])
    alone = MixedNetwork(model, LanguageMixture(1.0, ngrams))
    own, counted = (
        np.concatenate([one.nats[one.batch.real] for one in _scored(scorer, inputs, work)])
        for scorer in (Scorer(model, spec), MixedScorer(alone, spec))
    )
    weight = language_weight(own, counted)
    LanguageMixture(weight, ngrams).write(work.out)
    loss = float(mixed_nats(own, counted, weight).mean())
    return {
        "weight": weight,
        "train_tokens": len(train.ids),
        "validation_loss": loss,
        "validation_perplexity": math.exp(min(loss, 700)),
    }


def _scored(scorer: Scorer, inputs: Inputs, work: Workspace) -> Iterator[Scored]:
    """The validation split, batch by batch."""
    split = Split(inputs["batches"], VALIDATION)
    for done, one in enumerate(scorer.batches(split, ids=True), 1):
        work.progress(done, split.batch_count, "validation batches scored")
        yield one
