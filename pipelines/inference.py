"""A model that can be asked: one folder with all that it takes, and what reads it.

The package holds `model.keras`, `model.json`, `vocabulary/` and `package.json` (kind, how text
becomes ids, how many tokens are read at a time, the labels' names, the pipeline, whether it was
trained on the sample text).
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from pipelines.backend import load_keras
from pipelines.calibration import Calibration
from pipelines.cleaning import unix_lines, without_tags
from pipelines.errors import FolioError, UsageError
from pipelines.keras_file import load_model
from pipelines.models import state_names
from pipelines.sampling import continuation, sample, zero_states
from pipelines.spec import ModelSpec
from pipelines.text_groups import MAX_TOKENS, batches, groups, padded
from pipelines.vocabulary import Vocabulary, folder_digest

if TYPE_CHECKING:
    from pipelines.store import Artifact

SETTINGS = "package.json"
CHUNK = 512  # tokens of a long start that are read at once
UNITS = {"char": "characters", "word": "words", "subword": "subwords"}
Watch = Callable[[np.ndarray, list[np.ndarray]], None]
SHOWN = 10  # unknown characters or words that an error names


def write_package(folder: Path, model: Artifact, tokens: Artifact, *, pipeline: str,
                  labels: tuple[str, str], sample: bool, measured: Mapping[str, Any]) -> None:
    """Put a trained model and its vocabulary into `folder`, which must not exist yet.

    `measured` is what metrics.json says: of it are kept, of a language model, `window` (tokens of
    each window that it was trained on, if it was), `context` (tokens that it reads before the next
    one, if not all) and `layout` (of its test batches); of a classifier `calibration`. Raises
    FolioError when model and vocabulary do not belong together.
    """
    declared = json.loads((model.path / "model.json").read_bytes())
    vocabulary = tokens.path / "vocabulary"
    if folder_digest(vocabulary) != declared["vocabulary_digest"]:
        raise FolioError(f"{model.path}: was not trained with the vocabulary of {tokens.path}; "
                         "run the pipeline again from tokens")
    folder.mkdir(parents=True)
    for name in ("model.keras", "model.json"):
        shutil.copyfile(model.path / name, folder / name)
    (folder / "vocabulary").mkdir()
    for path in tokens.files("vocabulary/"):
        shutil.copyfile(path, folder / "vocabulary" / path.name)
    config = tokens.manifest["config"]
    settings = {
        "pipeline": pipeline, "kind": declared["model"]["kind"],
        "tokens": {key: config[f"tokens.{key}"] for key in ("kind", "lower", "max_tokens", "keep")},
        **{key: measured.get(key) for key in ("window", "context", "layout")},
        "calibration": _scaling(measured.get("calibration")), "labels": list(labels),
        "backend": model.manifest["config"]["training.backend"], "sample": sample}
    text = json.dumps(settings, indent=1, ensure_ascii=False)
    (folder / SETTINGS).write_text(text + "\n", encoding="utf-8")


def _scaling(figures: Mapping[str, Any] | None) -> dict[str, float] | None:
    return figures and {key: figures[key] for key in ("temperature", "threshold")}


class Predictor:
    """A package, loaded. `sample` tells that it was trained on the sample text."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.pipeline, self.kind = settings["pipeline"], settings["kind"]
        self.labels, self.sample = settings["labels"], settings["sample"]
        self.tokens = settings["tokens"]
        # Packages of earlier versions lack these.
        self.window, self.context = settings.get("window"), settings.get("context")
        self._layout = settings.get("layout")
        self.calibration = Calibration(**settings.get("calibration") or {})
        declared = json.loads((folder / "model.json").read_bytes())
        self.spec = ModelSpec.model_validate(declared["model"])
        self.vocabulary = Vocabulary.load(folder / "vocabulary")
        self._path = folder / "model.keras"

    @classmethod
    def load(cls, folder: Path, backend: str | None = None) -> Predictor:
        """The package in `folder`, on `backend`, else on the one that this process already runs,
        else on the one it was trained on. Raises FolioError when it is not whole."""
        try:
            settings = json.loads((folder / SETTINGS).read_bytes())
            running = sys.modules.get("keras")
            running = running.backend.backend() if running else settings["backend"]
            load_keras(backend or running)
            predictor = cls(folder, settings)
            predictor.model  # noqa: B018 - a broken file is noticed here, not at the first text
            return predictor
        except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
            raise FolioError(f"{folder}: not a whole model package "
                             f"({type(error).__name__}); run the pipeline's release again"
                             ) from error

    @cached_property
    def model(self) -> Any:
        return load_model(self._path)

    @property
    def _few_shapes(self) -> bool:
        """JAX compiles each shape; the others are faster without any filling up."""
        return sys.modules["keras"].backend.backend() == "jax"

    @property
    def layout(self) -> str:
        """How a language model reads held-out text: documents, lanes or windows."""
        if self._layout is None:
            return "windows" if self.window else "documents" if self.vocabulary.markers else "lanes"
        return self._layout

    # Classifiers

    def predict(self, texts: Iterable[Any], watch: Watch | None = None) -> list[dict[str, Any]]:
        """A row a text: text, label, probability (of that label), positive_probability.

        A text that cannot be judged (empty, no text at all, not valid Unicode, longer than
        MAX_TOKENS after the cut) has None in place of them, and `error`. `watch` is told, of each
        group of texts, their tokens before the cut (texts,) and the ids that are read of each.
        """
        self._require("classifier", "use generate or next_tokens")
        return [row for group in groups(texts) for row in self._judge(group, watch)]

    def _judge(self, group: list[Any], watch: Watch | None) -> list[dict[str, Any]]:
        errors = [_problem(text) for text in group]
        lengths, ids = self._encode([text for text, error in zip(group, errors, strict=True)
                                     if not error])
        if watch is not None:
            watch(lengths, ids)
        chances = iter(self._probabilities(ids))
        rows = []
        for text, error in zip(group, errors, strict=True):
            row = {"text": _printable(text), "label": None, "probability": None,
                   "positive_probability": None}
            chance = None if error else next(chances)
            if chance is None:
                row["error"] = error or f"the text has more than {MAX_TOKENS:,} tokens"
            else:
                positive = chance > self.calibration.threshold
                row |= {"label": self.labels[positive], "positive_probability": chance,
                        "probability": chance if positive else 1 - chance}
            rows.append(row)
        return rows

    def _encode(self, texts: list[str]) -> tuple[np.ndarray, list[np.ndarray]]:
        """How many tokens each text has, one at least; and its ids as the tokens stage makes them:
        cut, and one unknown token where there is no word."""
        import polars as pl

        cleaned = pl.Series([without_tags(unix_lines(text)) for text in texts], dtype=pl.String)
        most, keep = self.tokens["max_tokens"], self.tokens["keep"]
        rows = self.vocabulary.encode_words(cleaned)
        lengths = np.maximum(rows.list.len().to_numpy(), 1)
        if most is not None:
            rows = rows.list.tail(most) if keep == "last" else rows.list.head(most)
        unknown = np.array([self.vocabulary.unknown_id])
        return lengths, [row.to_numpy() if len(row) else unknown for row in rows]

    def _probabilities(self, ids: list[np.ndarray]) -> list[float | None]:
        """Of the second label, per text, in order; None for a text that is too long."""
        chances: list[float | None] = [None] * len(ids)
        most = self.tokens["max_tokens"]
        for rows in batches([len(row) for row in ids], most, self._few_shapes):
            tokens, length = padded([ids[i] for i in rows], self.vocabulary.pad_id, most,
                                    self._few_shapes)
            logits = self.model.predict_on_batch({"tokens": tokens, "length": length})
            chance = self.calibration.probability(logits[:len(rows), 0].astype(np.float64))
            for i, value in zip(rows, chance, strict=True):
                chances[i] = float(value)
        return chances

    # Language models

    def next_tokens(self, text: str, top: int = 5,
                    replace_unknown: bool = False) -> list[dict[str, Any]]:
        """The `top` likeliest next tokens as {token, probability}, likeliest first.

        They follow the last `self.context` tokens, or all where that is None.
        """
        self._require("language_model", "use predict")
        if top < 1:
            raise UsageError(f"top {top}: give 1 or more")
        ids = self._start(text, replace_unknown)[-(self.context or 0):]
        logits = self._read(ids).astype(np.float64)
        never = list(self.vocabulary.never_drawn)
        logits[never] = -np.inf
        chance = np.exp(logits - logits.max())
        chance /= chance.sum()
        best = np.argsort(-chance, kind="stable")[:min(top, len(logits) - len(never))]
        return [{"token": self.vocabulary.tokens[i], "probability": float(chance[i])}
                for i in best]

    def generate(self, starts: Iterable[str], length: int, temperature: float, seed: int,
                 top_k: int | None = None, replace_unknown: bool = False,
                 context: int | None = None) -> list[dict[str, Any]]:
        """A row a start: start, text (what goes on from it: `length` tokens, or less where the
        model ends its document), temperature, seed.

        Each text depends on its own start and the seed alone. Each token is drawn from the last
        `context` ones, else from `self.context`. A start with characters or words that are not in
        the vocabulary raises FolioError, unless `replace_unknown` has the model read the unknown
        token there. Raises UsageError on impossible values.
        """
        self._require("language_model", "use predict")
        coded = [(text, self._start(text, replace_unknown)) for text in starts]
        rows = []
        for text, ids in coded:
            drawn = sample(self.model, self.spec, ids, 1, length, temperature, seed, top_k,
                           self.vocabulary.never_drawn,
                           self.context if context is None else context)
            rows.append({"start": text, "text": continuation(self.vocabulary, text, drawn[0]),
                         "temperature": temperature, "seed": seed})
        return rows

    def shortness(self, texts: Iterable[str]) -> str | None:
        """Which of `texts` have fewer tokens than the windows that the model was trained on."""
        if self.window is None:
            return None
        lengths = {text: len(self.vocabulary.encode(unix_lines(text))) for text in texts}
        short = [(text, length) for text, length in lengths.items() if length < self.window]
        if not short:
            return None
        text, length = short[0]
        more = f" (and {len(short) - 1} more such texts)" if len(short) > 1 else ""
        return (f"{self.pipeline}: only {length} of the {self.window} "
                f"{UNITS[self.vocabulary.kind]} that it was trained on: {text[:40]!r}{more}")

    def _start(self, text: str, replace_unknown: bool) -> np.ndarray:
        """Ids of a start, after the token that begins documents where there is one; else of an
        empty start the line break, where the model knows it."""
        problem = _problem(text, may_be_empty=True)
        if problem:
            raise UsageError(f"start {_printable(text)!r}: {problem}")
        cleaned = unix_lines(text)
        unknown = self.vocabulary.unknown_in(cleaned)
        if unknown and not replace_unknown:
            named = ", ".join(repr(part) for part in unknown[:SHOWN])
            more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
            raise FolioError(f"start {text[:40]!r}: {self.pipeline} has never seen {named}{more}; "
                             "write it without them, or have them replaced by the unknown token "
                             "(--replace-unknown)")
        if self.vocabulary.begin_id is not None:
            ids = self.vocabulary.encode(cleaned).astype(np.int32)
            return np.concatenate([[self.vocabulary.begin_id], ids])
        if not cleaned and "\n" in self.vocabulary.tokens:
            cleaned = "\n"
        ids = self.vocabulary.encode(cleaned)
        never = self.vocabulary.never_drawn
        return ids if len(ids) else np.array([min(set(range(len(never) + 1)) - set(never))])

    def _read(self, ids: np.ndarray) -> np.ndarray:
        """Logits (vocabulary,) of what follows `ids`."""
        names = state_names(self.spec)
        states = dict(zip(names, zero_states(self.spec, 1), strict=True))
        for first in range(0, len(ids), CHUNK):
            tokens, length = padded([ids[first:first + CHUNK]], self.vocabulary.pad_id,
                                    few_shapes=self._few_shapes)
            outputs = self.model.predict_on_batch({"tokens": tokens, "length": length, **states})
            states = {name: outputs[name] for name in names}
        return outputs["logits"][0, length[0] - 1]

    def _require(self, kind: str, instead: str) -> None:
        if self.kind != kind:
            raise UsageError(f"{self.pipeline} is a {self.kind.replace('_', ' ')}: {instead}")


def _problem(text: Any, may_be_empty: bool = False) -> str | None:
    """Why a text cannot be read, or None."""
    if text is None:
        return "there is no text"
    if not isinstance(text, str):
        return f"not a text but {type(text).__name__}"
    if not may_be_empty and not text.strip():
        return "the text is empty"
    return None if _printable(text) == text else "the text is not valid Unicode"


def _printable(text: Any) -> str:
    if not isinstance(text, str):
        return repr(text)[:200]
    return text if text.isascii() else text.encode(errors="replace").decode()
