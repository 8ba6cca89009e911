"""A loaded model package (pipelines/serving/package.py) that answers questions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import FolioError, UsageError
from pipelines.mix.mixed_network import network_of
from pipelines.mix.mixtures import ClassifierMixture
from pipelines.model.backend import load_keras
from pipelines.model.decoding import state_widths
from pipelines.model.sampling import continuation, sample, zero_states
from pipelines.numpy_network.network import NumpyNetwork
from pipelines.readers.cleaning import composed, unix_lines, without_tags
from pipelines.serving.answers import Chance, answer, named, printable, problem_of
from pipelines.serving.batching import MAX_TOKENS, groups, model_inputs, rows_by_length
from pipelines.serving.networks import Network, keras_network, numpy_network
from pipelines.serving.package import Package, Scaling, complete, require_kind
from pipelines.stats.calibration import Calibration

NUMPY = "numpy"  # not a backend of Keras
CHUNK = 512  # tokens of a long start that are read at once
UNITS = {"char": "characters", "word": "words", "subword": "subwords"}
Watch = Callable[[np.ndarray, list[np.ndarray]], None]
SHOWN = 10  # number of unknown characters or words to list in an error


class Predictor:
    """A loaded package. `sample` says whether it was trained on the sample text."""

    def __init__(self, package: Package, model: Network | None = None) -> None:
        """`model` computes the package's network; default: Keras."""
        settings = package.settings
        self.pipeline, self.kind = settings.pipeline, settings.kind
        self.labels, self.sample, self.tokens = settings.labels, settings.sample, settings.tokens
        self.window, self.context = settings.window, settings.context
        self._layout, self._composed = settings.layout, settings.normal_form is not None
        self._breaks = settings.html_breaks or settings.kind == "classifier"
        self.calibration = Calibration(**(settings.calibration or Scaling()).model_dump())
        self.spec, self.vocabulary = package.spec, package.vocabulary
        self.model = keras_network(package) if model is None else model
        self.mixture = package.mixture
        self.network = network_of(self.model, self.mixture)

    @classmethod
    def load(
        cls,
        folder: Path,
        backend: str | None = None,
        lean: bool = True,
        threads: int | None = None,
        kind: str | None = None,
    ) -> Predictor:
        """The package in `folder`, on `backend`, else on the one that this process already runs,
        else on the one it was trained on; `lean` and `threads` are those of `load_keras`. With the
        backend numpy, Keras is not imported, unless a user's function has built the network. Raises
        FolioError if the package is not intact, UsageError if it is not of `kind`: before anything
        heavy is imported."""
        with complete(folder):
            package = Package.read(folder)
            require_kind(package.settings.pipeline, package.settings.kind, kind)
            return cls.of(package, backend, lean, threads)

    @classmethod
    def of(
        cls,
        package: Package,
        backend: str | None = None,
        lean: bool = True,
        threads: int | None = None,
    ) -> Predictor:
        """As `load`, of a package that has been read. Raises DamagedError if it is not intact."""
        if backend == NUMPY and package.spec.builder is None:
            return cls(package, numpy_network(package))
        backend = None if backend == NUMPY else backend
        keras = sys.modules.get("keras")
        running = keras.backend.backend() if keras else package.settings.backend
        load_keras(backend or running, lean, threads)
        return cls(package)

    @property
    def few_shapes(self) -> bool:
        """JAX compiles each shape; the others are faster without padding to fewer shapes."""
        if isinstance(self.model, NumpyNetwork):
            return False
        return sys.modules["keras"].backend.backend() == "jax"

    @property
    def layout(self) -> str:
        """The layout in which a language model reads held-out text: documents, lanes or windows."""
        if self._layout is None:
            return "windows" if self.window else "documents" if self.vocabulary.markers else "lanes"
        return self._layout

    # Classifiers

    def predict(self, texts: Iterable[Any], watch: Watch | None = None) -> list[dict[str, Any]]:
        """One row per text: text, label, probability (of that label), and positive_probability, or,
        of more than two labels, probabilities: {label: its probability}.

        A text that cannot be classified (empty, missing, not valid Unicode, longer than MAX_TOKENS
        after truncation) has None in these fields, and `error`. `watch` is called for each group of
        texts with their tokens before truncation (texts,) and the ids that are read of each.
        """
        return [named(row, self.labels) for row in self.judged(texts, watch)]

    def judged(self, texts: Iterable[Any], watch: Watch | None = None) -> list[dict[str, Any]]:
        """The same rows, but with probabilities as an array (labels,), which takes less memory."""
        require_kind(self.pipeline, self.kind, "classifier")
        return [row for group in groups(texts) for row in self._judge(group, watch)]

    def _judge(self, group: list[Any], watch: Watch | None) -> list[dict[str, Any]]:
        errors = [problem_of(text) for text in group]
        sound = [text for text, error in zip(group, errors, strict=True) if not error]
        cleaned = [self.cleaned(text) for text in sound]
        lengths, ids = self._encode(cleaned)
        if watch is not None:
            watch(lengths, ids)
        chances = iter(self._probabilities(cleaned, ids))
        rows = []
        for text, error in zip(group, errors, strict=True):
            chance = None if error else next(chances)
            why = error or f"the text has more than {MAX_TOKENS:,} tokens"
            found = (self.labels, self.calibration.threshold)
            rows.append(answer(printable(text), why if chance is None else chance, *found))
        return rows

    def _encode(self, cleaned: list[str]) -> tuple[np.ndarray, list[np.ndarray]]:
        """The number of tokens of each text, at least one; and its ids as in the tokens stage:
        truncated, and one unknown token if there is no word."""
        import polars as pl

        most, keep = self.tokens.max_tokens, self.tokens.keep
        rows = self.vocabulary.encode_words(pl.Series(cleaned, dtype=pl.String))
        lengths = np.maximum(rows.list.len().to_numpy(), 1)
        if most is not None:
            rows = rows.list.tail(most) if keep == "last" else rows.list.head(most)
        unknown = np.array([self.vocabulary.unknown_id])
        return lengths, [row.to_numpy() if len(row) else unknown for row in rows]

    def cleaned(self, text: str) -> str:
        """As the texts that the model was trained on; earlier versions did not compose them."""
        text = composed(unix_lines(text)) if self._composed else unix_lines(text)
        return without_tags(text) if self._breaks else text

    def _probabilities(self, cleaned: list[str], ids: list[np.ndarray]) -> list[Chance | None]:
        """Of the second label, or of more than two (labels,), per text, in order; None for a text
        that is too long."""
        chances: list[Chance | None] = [None] * len(ids)
        most = self.tokens.max_tokens
        for rows in rows_by_length([len(row) for row in ids], most, self.few_shapes):
            tokens, length = model_inputs(
                [ids[i] for i in rows], self.vocabulary.pad_id, most, self.few_shapes
            )
            logits = self.model.predict_on_batch({"tokens": tokens, "length": length})
            logit = logits[: len(rows)].astype(np.float64)
            logit = logit[:, 0] if logit.shape[1] == 1 else logit
            if isinstance(self.mixture, ClassifierMixture):
                counted = self.mixture.counted([cleaned[i] for i in rows])
                logit = self.mixture.logit(logit, counted)
            chance = self.calibration.probability(logit)
            for i, value in zip(rows, chance if chance.ndim == 2 else chance.tolist(), strict=True):
                chances[i] = value
        return chances

    # Language models

    def next_tokens(
        self, text: str, top: int = 5, replace_unknown: bool = False
    ) -> list[dict[str, Any]]:
        """The `top` most likely next tokens as {token, probability}, most likely first.

        They follow the last `self.context` tokens, or all if that is None.
        """
        require_kind(self.pipeline, self.kind, "language_model")
        if top < 1:
            raise UsageError(f"top {top}: give at least 1")
        ids = self._start(text, replace_unknown)[-(self.context or 0) :]
        logits = self._read(ids).astype(np.float64)
        never = list(self.vocabulary.never_drawn)
        logits[never] = -np.inf
        chance = np.exp(logits - logits.max())
        chance /= chance.sum()
        best = np.argsort(-chance, kind="stable")[: min(top, len(logits) - len(never))]
        return [{"token": self.vocabulary.tokens[i], "probability": float(chance[i])} for i in best]

    def generate(
        self,
        starts: Iterable[str],
        length: int,
        temperature: float,
        seed: int,
        top_k: int | None = None,
        replace_unknown: bool = False,
        context: int | None = None,
        count: int = 1,
    ) -> list[dict[str, Any]]:
        """`count` rows per start: start, text (its continuation: `length` tokens, or fewer if the
        model ends its document), temperature, seed.

        The texts of one start differ. Each depends only on the start, the seed and its number among
        them. Each token is sampled from the last `context` ones, else from `self.context`. A start
        with characters or words that are not in the vocabulary raises FolioError, unless
        `replace_unknown` replaces them by the unknown token. Raises UsageError on impossible
        values.
        """
        require_kind(self.pipeline, self.kind, "language_model")
        starts = [start for start in starts for _ in range(count)]
        coded = {text: self._start(text, replace_unknown) for text in starts}
        never, reads = self.vocabulary.never_drawn, self.context if context is None else context
        drawn = {
            text: iter(
                sample(
                    self.network,
                    self.spec,
                    ids,
                    starts.count(text),
                    length,
                    temperature,
                    seed,
                    top_k,
                    never,
                    reads,
                )
            )
            for text, ids in coded.items()
        }
        rows = []
        for start in starts:
            text = continuation(self.vocabulary, start, next(drawn[start]))
            rows.append({"start": start, "text": text, "temperature": temperature, "seed": seed})
        return rows

    def shortness(self, texts: Iterable[str]) -> str | None:
        """A notice on `texts` with fewer tokens than the windows that the model was trained on."""
        if self.window is None:
            return None
        lengths = {text: len(self.vocabulary.encode(self.cleaned(text))) for text in texts}
        short = [(text, length) for text, length in lengths.items() if length < self.window]
        if not short:
            return None
        text, length = short[0]
        more = f" (and {len(short) - 1} more such texts)" if len(short) > 1 else ""
        return (
            f"{self.pipeline}: only {length} of the {self.window} "
            f"{UNITS[self.vocabulary.kind]} that it was trained on: {text[:40]!r}{more}"
        )

    def _start(self, text: str, replace_unknown: bool) -> np.ndarray:
        """Ids of a start, after the token that begins documents if there is one; otherwise an empty
        start becomes a line break, if the vocabulary has it."""
        problem = problem_of(text, may_be_empty=True)
        if problem:
            raise UsageError(f"start {printable(text)!r}: {problem}")
        cleaned = self.cleaned(text)
        unknown = self.vocabulary.unknown_in(cleaned)
        if unknown and not replace_unknown:
            named = ", ".join(repr(part) for part in unknown[:SHOWN])
            more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
            raise FolioError(
                f"start {text[:40]!r}: {self.pipeline} does not know {named}{more}; leave "
                "them out, or replace them by the unknown token (--replace-unknown)"
            )
        if self.vocabulary.begin_id is not None:
            ids = self.vocabulary.encode(cleaned).astype(np.int32)
            return np.concatenate([[self.vocabulary.begin_id], ids])
        if not cleaned and "\n" in self.vocabulary.tokens:
            cleaned = "\n"
        ids = self.vocabulary.encode(cleaned)
        never = self.vocabulary.never_drawn
        return ids if len(ids) else np.array([min(set(range(len(never) + 1)) - set(never))])

    def _read(self, ids: np.ndarray) -> np.ndarray:
        """Logits (vocabulary,) of the token after `ids`."""
        names = list(state_widths(self.spec, self.network))
        states = dict(zip(names, zero_states(self.spec, 1, self.network), strict=True))
        for first in range(0, len(ids), CHUNK):
            tokens, length = model_inputs(
                [ids[first : first + CHUNK]], self.vocabulary.pad_id, few_shapes=self.few_shapes
            )
            outputs = self.network.predict_on_batch({"tokens": tokens, "length": length, **states})
            states = {name: outputs[name] for name in names}
        return outputs["logits"][0, length[0] - 1]
