"""A language model on held-out text: its figures, as sums with their counts, and generated text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.counting.kneser_ney import estimated, train_text
from pipelines.counting.ngrams import Sequences
from pipelines.metrics.evaluation import PREDICTIONS, Evaluation, mix_figures
from pipelines.metrics.samples import Writer
from pipelines.metrics.segment_figures import CONFIDENCE, segment_sums, text_differences
from pipelines.metrics.segments import SEGMENTS, Segments
from pipelines.metrics.slices import overall_intervals, text_slices
from pipelines.model.sampling import sample
from pipelines.model.scoring import Scored

# Upper ends (exclusive) of the classes by number of tokens read before the predicted one.
POSITION_EDGES = (1, 10, 30, 100, 300, 1000, 10_000, 100_000)


@dataclass(frozen=True)
class LanguageModelResult:
    """`metrics` are those of metrics.json; `predictions` has one row per sequence (HeldOut),
    `segments` one row per segment of the test text (Segments)."""

    metrics: dict[str, Any]
    predictions: pa.Table
    segments: pa.Table

    @property
    def tables(self) -> dict[str, pa.Table]:
        return {PREDICTIONS: self.predictions, SEGMENTS: self.segments}

    @property
    def samples(self) -> str:
        """The samples in the metrics, for people to read."""
        return "\n".join(
            f"--- temperature {one['temperature']}, seed {one['seed']}\n"
            f"{one['start']}{one['text']}\n"
            for one in self.metrics["samples"]
        )


def evaluate_language_model(evaluation: Evaluation) -> LanguageModelResult:
    """Score the test split; score n-grams on the same tokens; generate text."""
    inputs, test, spec = evaluation.inputs, evaluation.test, evaluation.spec
    counted = Segments.of(
        inputs["corpus"],
        inputs["tokens"],
        evaluation.vocabulary,
        inputs["tokens"].manifest["config"]["tokens.keep"],
        positions=test.layout != "documents",
    )
    scored = counted.watch(evaluation.scored(test, ids=True))
    held_out, segments = HeldOut.collect(scored, test.carries_state), counted.table()
    characters = inputs["batches"].counts["test"]["characters"]
    metrics = language_metrics(held_out, characters, test.metadata["unknown_id"])
    metrics["baselines"] = _baselines(evaluation, held_out, characters, counted)
    if evaluation.mixture:
        metrics["mix"] = mix_figures(evaluation.mixture)
        metrics["alone"] = _alone(evaluation, characters, counted)
    evaluation.progress(0, None, "segments resampled")
    metrics["intervals"] = overall_intervals(segments)
    metrics["slices"] = text_slices(segments, inputs["corpus"], spec.slices)
    metrics |= _written(evaluation)
    return LanguageModelResult(metrics, held_out.rows, segments)


def _baselines(
    evaluation: Evaluation, held_out: HeldOut, characters: int, segments: Segments
) -> dict[str, Any]:
    """The figures of n-grams on the same tokens, and by how much the model's differ, with
    intervals."""
    evaluation.progress(0, None, "n-grams counted")
    tokens, test = evaluation.inputs["tokens"], evaluation.test
    train = train_text(tokens, test.layout in ("rows", "lanes"))
    used = {
        "train_tokens": len(train.ids),
        "train_tokens_left_out": tokens.counts["train"]["tokens"] - len(train.ids),
    }
    found = {}
    for order in sorted({1, evaluation.spec.baseline_order}):
        ngrams = estimated(train, order, test.metadata["vocabulary_size"])
        probability, guess = ngrams.score(held_out.text)
        nats = -np.log(probability[held_out.predicted])
        hits = (guess == held_out.text.ids)[held_out.predicted]
        sums = {"tokens": len(nats), "nats": float(nats.sum()), "correct": int(hits.sum())}
        beside = _beside(sums, nats[held_out.order], characters, segments)
        found["unigram" if order == 1 else f"{order}-gram"] = beside | used
    return found


def _alone(evaluation: Evaluation, characters: int, segments: Segments) -> dict[str, Any]:
    """The figures of the network without the n-grams, and by how much the model's differ."""
    scored = evaluation.scored(evaluation.test, alone=True)
    parts = [(one.nats[one.batch.real], one.correct[one.batch.real]) for one in scored]
    nats, hits = map(np.concatenate, zip(*parts, strict=True))
    sums = {"tokens": len(nats), "nats": float(nats.sum()), "correct": int(hits.sum())}
    return _beside(sums, nats, characters, segments)


def _beside(
    sums: dict[str, Any], nats: np.ndarray, characters: int, segments: Segments
) -> dict[str, Any]:
    """The figures of another model, from its sums and the nats of the tokens in the order of the
    batches, and by how much the model's differ."""
    model = segment_sums(segments.table())
    own = model.copy()
    own[:, 0] = segments.summed(nats)
    _, differences = text_differences(own, model, CONFIDENCE)
    return {
        **figures(sums, characters),
        **sums,
        "difference": {figure: one.as_json() for figure, one in differences.items()},
    }


def _written(evaluation: Evaluation) -> dict[str, Any]:
    """Samples to read, and figures on more generated text."""
    spec, test, vocabulary = evaluation.spec, evaluation.test, evaluation.vocabulary
    window = max(test.buckets) if test.layout == "windows" else None
    context = window or spec.context

    def draw(start: np.ndarray, temperatures: np.ndarray, length: int, seed: int) -> np.ndarray:
        return sample(
            evaluation.network,
            evaluation.model_spec,
            start,
            len(temperatures),
            length,
            temperatures,
            seed,
            never=vocabulary.never_drawn,
            context=context,
        )

    evaluation.progress(0, None, "samples generated")
    writer = Writer(draw, vocabulary, spec, test.layout == "documents")
    return {
        "layout": test.layout,
        "window": window,
        "context": context,
        "samples": writer.samples(evaluation.seed),
        "generated": writer.figures(evaluation.inputs["corpus"], evaluation.seed),
    }


@dataclass(frozen=True)
class HeldOut:
    """A model's predictions for the test text.

    `rows` has one row per sequence: id, position (tokens that its lane had read before), tokens
    (predicted), nats and correct. `by_position` (2, classes): tokens and nats by number of tokens
    read before. `text` is everything read and predicted, and `numbers` (n,) has each token's
    number in the order in which they were predicted, -1 if it was only read.
    """

    rows: pa.Table
    by_position: np.ndarray
    text: Sequences
    numbers: np.ndarray

    @property
    def predicted(self) -> np.ndarray:
        """(n,) bool: which tokens of `text` were predicted."""
        return self.numbers >= 0

    @property
    def order(self) -> np.ndarray:
        """(predicted tokens,): sorts what is known of them in the order of `text` by `numbers`."""
        return np.argsort(self.numbers[self.predicted])

    @classmethod
    def collect(cls, scored: Iterable[Scored], lanes: bool) -> HeldOut:
        """From the scored batches of a split; `lanes`: row k continues in the next batch's row
        k."""
        columns: dict[str, list[Any]] = {
            name: [] for name in ("id", "position", "tokens", "nats", "correct")
        }
        by_position = np.zeros((2, len(POSITION_EDGES) + 1))
        parts: list[list[np.ndarray]] = []
        count = 0
        for one in scored:
            real = one.batch.real
            columns["id"] += one.batch.ids
            for name, values in (
                ("position", one.read),
                ("tokens", real.sum(1)),
                ("nats", one.nats.sum(1)),
                ("correct", one.correct.sum(1)),
            ):
                columns[name] += values.tolist()
            by_position += _by_position(one, real)
            numbers = np.where(real, count + real.cumsum().reshape(real.shape) - 1, -1)
            count += int(real.sum())
            for lane, part in enumerate(_sequences(one, numbers, lanes)):
                if lane == len(parts):
                    parts.append([])
                parts[lane].append(part)
        ids, before, numbers = np.concatenate([part for lane in parts for part in lane], axis=1)
        return cls(pa.table(columns), by_position, Sequences(ids, before), numbers)

    @property
    def sums(self) -> dict[str, Any]:
        """Predicted tokens, their nats, and how many the model ranks first."""
        columns = {name: self.rows[name].to_pylist() for name in ("tokens", "nats", "correct")}
        return {
            "tokens": sum(columns["tokens"]),
            "nats": math.fsum(columns["nats"]),
            "correct": sum(columns["correct"]),
        }


def _by_position(one: Scored, real: np.ndarray) -> np.ndarray:
    before = one.read[:, None] + np.arange(1, real.shape[1] + 1)  # the input token is included
    classes = np.searchsorted(POSITION_EDGES, before[real], side="right")
    return np.stack(
        [
            np.bincount(classes, weights, len(POSITION_EDGES) + 1)
            for weights in (np.ones(len(classes)), one.nats[real])
        ]
    )


def _sequences(one: Scored, numbers: np.ndarray, lanes: bool) -> list[np.ndarray]:
    """The tokens of each lane, or of all rows in order, as (3, tokens) int32: their ids, how many
    their text has before each, and their `numbers`, -1 for those that are only read."""
    batch, read = one.batch, one.read[:, None]
    ids = np.concatenate([batch.tokens[:, :1], batch.outcome], axis=1)  # (rows, width + 1)
    place = np.arange(ids.shape[1])
    numbers = np.pad(numbers, ((0, 0), (1, 0)), constant_values=-1)
    # The first token of a lane's later rows was the last one of the previous row.
    there = (place <= batch.length[:, None]) & ((place > 0) | (read == 0))
    everything = np.stack([ids, read + place, numbers]).astype(np.int32)
    if lanes:
        return [everything[:, row, there[row]] for row in range(len(ids))]
    return [everything[:, there]]


def language_metrics(held_out: HeldOut, characters: int, unknown_id: int) -> dict[str, Any]:
    """The contents of metrics.json; `characters` are those spelled by the predicted tokens."""
    sums = held_out.sums
    tokens, nats = held_out.by_position.tolist()
    unknown = int((held_out.text.ids == unknown_id)[held_out.predicted].sum())
    return {
        "kind": "language_model",
        "split": "test",
        "headline": figures(sums, characters),
        "sums": {
            "tokens": sums["tokens"],
            "characters": characters,
            "nats": sums["nats"],
            "correct": sums["correct"],
            "unknown": unknown,
        },
        "by_position": {"edges": list(POSITION_EDGES), "tokens": tokens, "nats": nats},
    }


def figures(sums: dict[str, Any], characters: int) -> dict[str, float]:
    """The quotients of sums: tokens, nats (of all predicted tokens), correct."""
    per_character, per_token = sums["nats"] / characters, sums["nats"] / sums["tokens"]
    return {
        "bits_per_character": per_character / math.log(2),
        "nats_per_character": per_character,
        "perplexity": math.exp(min(per_token, 700)),
        "accuracy": sums["correct"] / sums["tokens"],
    }
