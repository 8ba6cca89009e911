"""Trains linear models of word n-grams on a train split.

NB-SVM (Wang and Manning 2012, here with a logistic loss) values an n-gram by how much more often it
occurs in one class than in the other; logistic regression by tf-idf. Both scale documents to length
1, which the paper does not. With that, SMOOTHING and its strength below, the log loss of NB-SVM
was 1 to 7% lower than the paper's in trials on IMDb with 100 to 17,000 documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.counting.linear import FEATURES, Linear, LinearClasses, lengths, seen_grams

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from pipelines.store.artifacts import Artifact

MOST_CHARACTERS = 50_000_000  # of the train split; if it is longer, documents are drawn at random
CHUNK = 2000  # documents whose n-grams are counted at once
NB_SVM, TF_IDF = "NB-SVM", "logistic regression"
STRENGTHS = {NB_SVM: 100.0, TF_IDF: 30.0}  # C: the inverse strength of regularization
SMOOTHING = 2  # is added to the counts of NB-SVM
MOST_WEIGHTS = 2**25  # of all classes: their n-grams are fewer, the more classes there are
BETAS = (1.0, 0.75, 0.5, 0.25)  # share of the trained weights, against the same weight for all


@dataclass(frozen=True)
class Documents:
    """`grams` (documents, FEATURES): 1 for each n-gram in a document; `label` (documents,): the
    number of its class."""

    ids: list[str]
    grams: csr_matrix
    label: np.ndarray

    @property
    def positive(self) -> np.ndarray:
        """(documents,) bool, of two classes."""
        return self.label > 0.5


def train_documents(corpus: Artifact, seed: int, classes: int = 2) -> Documents:
    """The train split, or documents of it drawn at random if it is long. With more classes it is
    read in part sooner, as a model is trained for each."""
    from scipy.sparse import csr_matrix, vstack

    most = MOST_CHARACTERS * 2 / classes
    share = most / max(corpus.counts["splits"]["train"]["characters"], 1)
    chunks = _documents(corpus, "train", share, seed)
    parts = [Documents([], csr_matrix((0, FEATURES)), np.zeros(0, np.float32)), *chunks]
    return Documents(
        [name for part in parts for name in part.ids],
        vstack([part.grams for part in parts], format="csr"),
        np.concatenate([part.label for part in parts]),
    )


def _documents(
    corpus: Artifact, split: str, share: float = 1.0, seed: int = 0
) -> Iterator[Documents]:
    """The split in chunks; `share` of its documents, drawn at random."""
    random = np.random.default_rng(seed)
    for shard in corpus.files(f"documents/{split}-"):
        for batch in pq.ParquetFile(shard).iter_batches(CHUNK, columns=["id", "text", "label"]):
            kept = batch.filter(pa.array(random.random(len(batch)) < share))
            grams = seen_grams(kept["text"].to_pylist())
            yield Documents(kept["id"].to_pylist(), grams, kept["label"].to_numpy())


def problem(train: Documents) -> str | None:
    """Why there is nothing to learn from."""
    if not train.grams.nnz:
        return "there are no words in the train split"
    if (train.label == train.label[0]).all():
        return "the train split has only one class"
    return None


def nb_svm(train: Documents) -> list[Linear]:
    """One for each of BETAS."""
    counts = [
        SMOOTHING + np.asarray(train.grams[which].sum(axis=0)).ravel()
        for which in (train.positive, ~train.positive)
    ]
    seen = counts[0] + counts[1] > 2 * SMOOTHING
    shares = [count / count[seen].sum() for count in counts]
    values = np.where(seen, np.log(shares[0] / shares[1]), 0.0)
    weights, intercept = _trained(train, values, STRENGTHS[NB_SVM])
    mean, squares = np.abs(weights[seen]).mean(), values**2
    shrunk = [beta * weights + (1 - beta) * mean for beta in BETAS]
    return [Linear(values * each, intercept, squares) for each in shrunk]


def tf_idf(train: Documents) -> Linear:
    documents = np.bincount(train.grams.indices, minlength=train.grams.shape[1])
    rarity = np.log((1 + len(train.ids)) / (1 + documents)) + 1
    weights, intercept = _trained(train, rarity, STRENGTHS[TF_IDF])
    return Linear(rarity * weights, intercept, rarity**2)


def against_rest(train: Documents, classes: int) -> dict[str, list[LinearClasses]]:
    """{name: models}: for each class one of it against all others, of the n-grams that most
    documents contain."""
    documents = np.bincount(train.grams.indices, minlength=FEATURES)
    often = np.argsort(-documents, kind="stable")[: MOST_WEIGHTS // classes]
    columns = np.sort(often[documents[often] > 0])
    grams = train.grams[:, columns]
    found: dict[str, list[list[Linear]]] = {NB_SVM: [], TF_IDF: []}
    for number in range(classes):
        part = Documents(train.ids, grams, (train.label == number).astype(np.float32))
        if part.positive.any():
            found[NB_SVM].append(nb_svm(part))
            found[TF_IDF].append([tf_idf(part)])
        else:  # of a class that was not drawn
            nothing = np.zeros(len(columns))
            never = Linear(nothing, -np.log(len(train.ids) + 1.0), nothing)
            found[NB_SVM].append([never] * len(BETAS))
            found[TF_IDF].append([never])
    return {name: _joined(columns, models) for name, models in found.items()}


def _joined(columns: np.ndarray, models: list[list[Linear]]) -> list[LinearClasses]:
    """`models`: of each class, in the same order. Those of a class have the same squares."""
    squares = np.array([some[0].squares for some in models], np.float32)
    if (squares == squares[0]).all():
        squares = squares[:1]
    squares = squares.T.copy()
    return [
        LinearClasses(
            columns,
            np.stack([one.weights for one in of_class], axis=1, dtype=np.float32),
            np.array([one.intercept for one in of_class]),
            squares,
        )
        for of_class in zip(*models, strict=True)
    ]


def _trained(train: Documents, values: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Weights and intercept of a logistic regression, with `values` (FEATURES,) of the n-grams in
    documents that are scaled to length 1."""
    from scipy.sparse import csr_matrix
    from sklearn.linear_model import LogisticRegression

    of_rows = np.repeat(lengths(train.grams, values**2), np.diff(train.grams.indptr))
    scaled = values[train.grams.indices] / of_rows
    grams = csr_matrix((scaled, train.grams.indices, train.grams.indptr), train.grams.shape)
    model = LogisticRegression(C=strength, solver="liblinear", dual=True, random_state=1)
    model.fit(grams, train.positive)
    return model.coef_[0], float(model.intercept_[0])


def logits(
    models: Mapping[str, Sequence[Linear | LinearClasses]], corpus: Artifact, split: str
) -> tuple[list[str], np.ndarray, dict[str, list[np.ndarray]]]:
    """The ids and labels (documents,) of a split, and each model's logits (documents,), or
    (documents, classes) if there are more than two."""
    ids, labels = [], []
    found: dict[str, list[list[np.ndarray]]] = {
        name: [[] for _ in some] for name, some in models.items()
    }
    for chunk in _documents(corpus, split):
        ids += chunk.ids
        labels.append(chunk.label)
        for name, some in models.items():
            for parts, model in zip(found[name], some, strict=True):
                parts.append(model.logit(chunk.grams))
    joined = {name: [np.concatenate(parts) for parts in some] for name, some in found.items()}
    return ids, np.concatenate(labels), joined
