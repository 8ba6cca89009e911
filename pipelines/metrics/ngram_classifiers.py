"""The baselines of classifiers: linear models of word n-grams, trained on the same train split.

Both read which n-grams of 1 to 3 words and signs a document contains. NB-SVM (Wang and Manning
2012, here with a logistic loss) weights an n-gram by how much more often it occurs in one class
than in the other; logistic regression by tf-idf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.declaration.evaluation_section import EvaluationSpec
from pipelines.metrics.segment_figures import CONFIDENCE
from pipelines.stats.calibration import Calibration
from pipelines.stats.paired_tests import classifier_differences

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import HashingVectorizer

    from pipelines.store.artifacts import Artifact, Progress

MOST_CHARACTERS = 50_000_000  # of the train split; if it is longer, documents are drawn at random
FEATURES = 2**22  # n-grams are hashed into so many columns: that bounds the memory
LONGEST = 3  # words in an n-gram
WORD = r"[^\W_]+(?:'[^\W_]+)?|[^\w\s]"  # or a single sign
CHUNK = 2000  # documents whose n-grams are counted at once
NB_SVM, TF_IDF = "NB-SVM", "logistic regression"
STRENGTHS = {NB_SVM: 1.0, TF_IDF: 30.0}  # C: the inverse strength of regularization
BETAS = (1.0, 0.75, 0.5, 0.25)  # share of the trained weights, against the same weight for all


@dataclass(frozen=True)
class Documents:
    """`grams` (documents, FEATURES): 1 for each n-gram in a document; `positive` (documents,)."""

    ids: list[str]
    grams: csr_matrix
    positive: np.ndarray


@dataclass(frozen=True)
class Linear:
    """A fitted model. With `squares`, documents are scaled to length 1, as in tf-idf."""

    weights: np.ndarray
    intercept: float
    squares: np.ndarray | None = None

    def logit(self, grams: csr_matrix) -> np.ndarray:
        """(documents,): of class 1."""
        found = grams @ self.weights
        if self.squares is not None:
            found /= np.sqrt(np.maximum(grams @ self.squares, 1e-12))
        return found + self.intercept


def baselines(
    corpus: Artifact, predictions: pa.Table, spec: EvaluationSpec, seed: int, progress: Progress
) -> dict[str, dict[str, Any]]:
    """{name: its figures, and those of the model minus its own, with intervals}, on the documents
    of the model's `predictions`; or {name: {not_measured: why}}.

    Calibrated on validation, as the model is.
    """
    progress(0, None, "n-grams counted")
    counts = corpus.counts["splits"]["train"]
    train = _all(_documents(corpus, "train", MOST_CHARACTERS / max(counts["characters"], 1), seed))
    if problem := _problem(train):
        return {name: {"not_measured": problem} for name in STRENGTHS}
    used = {
        "train_documents": len(train.ids),
        "train_documents_left_out": counts["documents"] - len(train.ids),
    }
    progress(0, None, "n-gram models trained")
    models = {NB_SVM: _nb_svm(train), TF_IDF: [_tf_idf(train)]}
    del train
    progress(0, None, "n-gram models compared with the model")
    _, label, fitted = _logits(models, corpus, "validation")
    best = {name: _most_accurate(logits, label, spec) for name, logits in fitted.items()}
    chosen = {name: [models[name][number]] for name, (number, _) in best.items()}
    ids, _, tested = _logits(chosen, corpus, "test")
    places = pc.index_in(predictions["id"], value_set=pa.array(ids)).to_numpy()
    return {
        name: _figures(logits[0][places], best[name][1], predictions) | used
        for name, logits in tested.items()
    }


def _documents(
    corpus: Artifact, split: str, share: float = 1.0, seed: int = 0
) -> Iterator[Documents]:
    """The split in chunks; `share` of its documents, drawn at random."""
    vectorizer = _vectorizer()
    random = np.random.default_rng(seed)
    for shard in corpus.files(f"documents/{split}-"):
        for batch in pq.ParquetFile(shard).iter_batches(CHUNK, columns=["id", "text", "label"]):
            kept = batch.filter(pa.array(random.random(len(batch)) < share))
            grams = vectorizer.transform(kept["text"].to_pylist())
            yield Documents(kept["id"].to_pylist(), grams, kept["label"].to_numpy() > 0.5)


def _vectorizer() -> HashingVectorizer:
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(
        token_pattern=WORD,
        ngram_range=(1, LONGEST),
        n_features=FEATURES,
        binary=True,
        norm=None,
        alternate_sign=False,
    )


def _all(chunks: Iterator[Documents]) -> Documents:
    from scipy.sparse import csr_matrix, vstack

    parts = [Documents([], csr_matrix((0, FEATURES)), np.zeros(0, bool)), *chunks]
    return Documents(
        [name for part in parts for name in part.ids],
        vstack([part.grams for part in parts], format="csr"),
        np.concatenate([part.positive for part in parts]),
    )


def _problem(train: Documents) -> str | None:
    """Why there is nothing to learn from."""
    if not train.grams.nnz:
        return "there are no words in the train split"
    if train.positive.all() or not train.positive.any():
        return "the train split has only one class"
    return None


def _nb_svm(train: Documents) -> list[Linear]:
    """One for each of BETAS."""
    counts = [
        np.asarray(train.grams[which].sum(axis=0)).ravel()
        for which in (train.positive, ~train.positive)
    ]
    seen = counts[0] + counts[1] > 0
    shares = [(1 + count) / (1 + count)[seen].sum() for count in counts]
    ratio = np.where(seen, np.log(shares[0] / shares[1]), 0.0)
    weights, intercept = _trained(train, ratio[train.grams.indices], STRENGTHS[NB_SVM])
    mean = np.abs(weights[seen]).mean()
    return [Linear(ratio * (beta * weights + (1 - beta) * mean), intercept) for beta in BETAS]


def _tf_idf(train: Documents) -> Linear:
    documents = np.bincount(train.grams.indices, minlength=FEATURES)
    rarity = np.log((1 + len(train.ids)) / (1 + documents)) + 1
    squares = rarity**2
    lengths = np.sqrt(train.grams @ squares)
    values = rarity[train.grams.indices] / np.repeat(lengths, np.diff(train.grams.indptr))
    weights, intercept = _trained(train, values, STRENGTHS[TF_IDF])
    return Linear(rarity * weights, intercept, squares)


def _trained(train: Documents, values: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Weights and intercept of a logistic regression, with `values` in place of the ones."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    grams = csr_matrix((values, train.grams.indices, train.grams.indptr), train.grams.shape)
    model = LogisticRegression(C=strength, solver="liblinear", dual=True, random_state=1)
    model.fit(grams, train.positive)
    return model.coef_[0], float(model.intercept_[0])


def _logits(
    models: Mapping[str, Sequence[Linear]], corpus: Artifact, split: str
) -> tuple[list[str], np.ndarray, dict[str, list[np.ndarray]]]:
    """The ids and labels (documents,) of a split, and each model's logits (documents,)."""
    ids, labels = [], []
    found: dict[str, list[list[np.ndarray]]] = {
        name: [[] for _ in some] for name, some in models.items()
    }
    for chunk in _documents(corpus, split):
        ids += chunk.ids
        labels.append(chunk.positive)
        for name, some in models.items():
            for logits, model in zip(found[name], some, strict=True):
                logits.append(model.logit(chunk.grams))
    joined = {name: [np.concatenate(logits) for logits in some] for name, some in found.items()}
    return ids, np.concatenate(labels), joined


def _most_accurate(
    logits: Sequence[np.ndarray], label: np.ndarray, spec: EvaluationSpec
) -> tuple[int, Calibration]:
    """The first of the most accurate models on validation, calibrated."""
    scaled = spec.calibration == "temperature"
    found = [Calibration.fitted(logit, label, scaled, spec.threshold) for logit in logits]
    right = [one.correct(logit, label).mean() for one, logit in zip(found, logits, strict=True)]
    best = int(np.argmax(right))
    return best, found[best]


def _figures(logit: np.ndarray, fitted: Calibration, predictions: pa.Table) -> dict[str, Any]:
    """Of a baseline, beside the model's."""
    model = {
        name: predictions[name].to_numpy() for name in ("label", "probability", "correct", "nats")
    }
    own = {
        "label": model["label"],
        "probability": fitted.probability(logit),
        "correct": fitted.correct(logit, model["label"]),
        "nats": fitted.nats(logit, model["label"]),
    }
    differences = classifier_differences(own, model, CONFIDENCE)
    return {
        **{name: one.old for name, one in differences.items()},
        "documents": len(logit),
        "correct": int(own["correct"].sum()),
        "nats": float(own["nats"].sum()),
        "difference": {name: one.as_json() for name, one in differences.items()},
    }
