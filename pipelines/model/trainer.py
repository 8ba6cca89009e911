"""Trains one network over the batches: its position, steps and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import timedelta
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.batches.dataset import Batch, Split
from pipelines.declaration.model_sections import ModelSpec
from pipelines.declaration.training_section import TrainingSpec
from pipelines.errors import FolioError
from pipelines.model import checkpoints
from pipelines.model.checkpoints import Position
from pipelines.model.network import build_model, copy_weights
from pipelines.model.scoring import Scorer
from pipelines.model.softmax import sampled
from pipelines.model.softmax.output import returned
from pipelines.model.train_step import compiled, learning_rate
from pipelines.start.weights import copy_start
from pipelines.store.artifacts import Workspace
from pipelines.store.processor import processor

if TYPE_CHECKING:
    import keras


Arguments = tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]  # x, y, weight


class Trainer:
    """One training run. `run` continues from the checkpoint in `work.scratch` if there is one."""

    def __init__(
        self,
        spec: ModelSpec,
        training: TrainingSpec,
        seed: int,
        train: Split,
        validation: Split,
        work: Workspace,
        start: keras.Model | None = None,
        unlabelled: Split | None = None,
        build: Callable[..., keras.Model] = build_model,
    ) -> None:
        """`start`: the model that `spec.start_from` names. `unlabelled`: for virtual adversarial
        training, a batch in each step. `build` is called as `build_model`."""
        self.spec, self.training, self.seed, self.work = spec, training, seed, work
        self.train, self.validation, self.unlabelled = train, validation, unlabelled
        size = train.metadata["vocabulary_size"]
        # A truncated gradient needs the state carried between the parts of a batch.
        keeping = spec.model_copy(update={"stateful": True}) if training.truncate else spec
        classes = train.classes
        self.returns = returned(spec, training, size)
        self.model = build(keeping, size, train.batch_size, seed, self.returns, classes)
        self.plain = build(spec, size, seed=seed, classes=classes)
        started = copy_start(spec, start, self.model) if start is not None else []
        self.scorer = Scorer(self.plain, spec)
        self.train_step = compiled(self.model, spec.kind, training, started)
        self.position = Position()
        self.carried = carried_state(self.model)
        self.variables = [*self.model.variables, *self.carried, *self.model.optimizer.variables]
        self.resumed = False

    def run(self) -> None:
        if self._path("checkpoint").is_file():
            self._make_the_same_graphs()
        stored = checkpoints.load(self._path("checkpoint"), self.variables)
        if stored is not None:
            self.position, self.resumed = Position(**stored), True
            self._tell_epochs()
        if processor() not in self.position.processors:
            self.position.processors.append(processor())
        while self.position.epoch < self.training.epochs and not self._patience_is_over():
            self._epoch()

    def _make_the_same_graphs(self) -> None:
        """Takes the first step again; the checkpoint then replaces what this changes.

        TensorFlow makes a graph for the first width that it sees and another for the rest. They
        round differently, so a resumed training must see the same width first.
        """
        batches = [self.train.epoch(0, 0, self._shuffles()), *self._unlabelled_batches()]
        list(self._losses(*map(next, batches)))

    def best_model(self) -> keras.Model:
        """The plain model with the best epoch's weights."""
        checkpoints.load(
            self._path(f"best-{self.position.best_epoch}"), self.plain.trainable_variables
        )
        return self.plain

    def counts(self) -> dict[str, Any]:
        best = self.position.history[self.position.best_epoch - 1]
        return {
            "epochs": self.position.epoch,
            "best_epoch": self.position.best_epoch,
            "best": best,
            "epoch_seconds": self.position.epoch_seconds,
            "resumed": self.resumed,
            "processors": self.position.processors,
        }

    def _epoch(self) -> None:
        position, started = self.position, time.monotonic()
        if position.step == 0:
            self._forget()
        saved, before = started, position.seconds
        batches = self.train.epoch(position.epoch, position.step, self._shuffles())
        for batch, *more in zip(batches, *self._unlabelled_batches(), strict=False):
            self.step(batch, *more)
            now = time.monotonic()
            if now - saved >= self.training.checkpoint_every:
                position.seconds = before + now - started
                self._save()
                saved = now
        self._validate()
        position.epoch_seconds.append(round(before + time.monotonic() - started, 2))
        self.work.log(epoch_line(position, self.training.epochs))
        position.epoch, position.step, position.seconds = position.epoch + 1, 0, 0.0
        position.loss_sum = position.loss_weight = 0.0
        self._save()
        self._tell_epochs()

    def _tell_epochs(self) -> None:
        self.work.epochs(self.position.history, self.position.epoch_seconds)

    def _shuffles(self) -> bool:
        """As declared; by default shuffled, except with a carried state, which reads the text in
        order."""
        declared = self.training.shuffle
        return not self.spec.stateful if declared is None else declared

    def _unlabelled_batches(self) -> list[Iterator[Batch]]:
        """None or one: from the position of the training on, over and over, each time in another
        order."""
        if self.unlabelled is None:
            return []
        epoch, start = divmod(self._steps_done(), self.unlabelled.batch_count)
        epochs = (
            self.unlabelled.epoch(number, 0 if number > epoch else start, self._shuffles())
            for number in count(epoch)
        )
        return [chain.from_iterable(epochs)]

    def _steps_done(self) -> int:
        return self.position.epoch * self.train.batch_count + self.position.step

    def step(self, batch: Batch, *unlabelled: Batch) -> None:
        """Train on one batch, with an unlabelled one if there is any, and count it."""
        position = self.position
        for loss, total in self._losses(batch, *unlabelled):
            if not math.isfinite(loss):
                raise FolioError(
                    f"training: the loss is {loss} at epoch {position.epoch + 1}, step "
                    f"{position.step + 1}; reduce training.learning_rate or set "
                    "training.clip_norm"
                )
            position.loss_sum += loss * total
            position.loss_weight += total
        position.step += 1
        position.tokens += int(batch.length.sum())
        self._report()

    def _losses(self, batch: Batch, *unlabelled: Batch) -> Iterator[tuple[float, float]]:
        """Trains on the parts of a batch; the loss and the weight of each."""
        x, y, weight = _arguments(
            batch.filled(self.train.batch_size), self.spec, self.train.classes
        )
        more = [_rows(each.filled(self.train.batch_size)) for each in unlabelled]
        if not self.spec.stateful:
            self._forget()
        done = self._steps_done()
        self.model.optimizer.learning_rate = self._learning_rate(done)
        for number, part in enumerate(self._stretches(x, y, weight)):
            if self.returns == "sampled":
                part = self._with_candidates(part, done, number)
            elif self.returns == "loss":
                part = _with_targets(part)
            yield self.train_step(*part, *more), float(part[2].sum())

    def _learning_rate(self, done: int) -> float:
        return learning_rate(self.training, done, self.training.epochs * self.train.batch_count)

    def _with_candidates(self, part: Arguments, done: int, number: int) -> Arguments:
        """The target's logit is the first."""
        x, y, weight = part
        shape = len(y), math.ceil((self.training.sampled_softmax or 0) / len(y))
        drawn = sampled.draw(self.seed, done, number, shape, self.train.metadata["vocabulary_size"])
        return x | {"targets": y, "candidates": drawn}, np.zeros_like(y), weight

    def _stretches(
        self, x: dict[str, np.ndarray], y: np.ndarray, weight: np.ndarray
    ) -> Iterator[Arguments]:
        """The whole batch, or cut into parts of `truncate` steps, each a training step."""
        steps, width = self.training.truncate, x["tokens"].shape[1]
        if steps is None or width <= steps:
            yield x, y, weight
            return
        for start in range(0, width, steps):
            part = slice(start, start + steps)
            if weight[:, part].any():
                length = np.clip(x["length"] - start, 1, steps)  # of ended rows: weight 0
                tokens = x["tokens"][:, part]
                yield {"tokens": tokens, "length": length}, y[:, part], weight[:, part]

    def _forget(self) -> None:
        for state in self.carried:
            state.assign(np.zeros(state.shape, np.float32))

    def _report(self) -> None:
        position, steps = self.position, self.train.batch_count
        self.work.progress(
            position.epoch * steps + position.step,
            self.training.epochs * steps,
            f"steps · epoch {position.epoch + 1}/{self.training.epochs} · "
            f"loss {position.loss_sum / position.loss_weight:.3f}",
        )

    def _validate(self) -> None:
        position = self.position
        copy_weights(self.model, self.plain)
        # With training.average, the weights become their averages; else this does nothing.
        self.model.optimizer.finalize_variable_values(self.plain.trainable_variables)
        figures = self.scorer.summary(self.validation)
        epoch = position.epoch + 1
        row = {
            "epoch": epoch,
            "loss": position.loss_sum / position.loss_weight,
            **{f"validation_{name}": value for name, value in figures.items()},
            "steps": position.step,
        }
        position.history.append(row)
        best = position.history[(position.best_epoch or epoch) - 1]
        if not position.best_epoch or row["validation_loss"] < best["validation_loss"]:
            position.best_epoch = epoch
            checkpoints.save(self._path(f"best-{epoch}"), self.plain.trainable_variables, {})

    def _save(self) -> None:
        checkpoints.save(self._path("checkpoint"), self.variables, asdict(self.position))
        for path in self.work.scratch.glob("best-*.npz"):  # only after the new one is complete
            if path != self._path(f"best-{self.position.best_epoch}"):
                path.unlink()

    def _path(self, name: str) -> Path:
        return self.work.scratch / f"{name}.npz"

    def _patience_is_over(self) -> bool:
        patience, best = self.training.patience, self.position.best_epoch
        return patience is not None and best > 0 and self.position.epoch - best >= patience


def epoch_line(position: Position, epochs: int) -> str:
    """The last epoch's figures, how fast it went, and how long the other epochs would take."""
    row, seconds = position.history[-1], position.epoch_seconds[-1]
    epoch, rate = int(row["epoch"]), row["steps"] / max(seconds, 0.01)
    named = {name.replace("_", " "): row[name] for name in row if name not in ("epoch", "steps")}
    figures = ", ".join(f"{name} {value:.4g}" for name, value in named.items())
    left = timedelta(seconds=round(seconds * (epochs - epoch)))
    return f"epoch {epoch}/{epochs}: {figures}; {rate:,.1f} steps/s, {left} left"


def _rows(batch: Batch) -> dict[str, np.ndarray]:
    return {"tokens": batch.tokens, "length": batch.length, "weight": batch.weight}


def _with_targets(part: Arguments) -> Arguments:
    x, y, weight = part
    return x | {"targets": y, "weight": weight}, y, weight


def _arguments(batch: Batch, spec: ModelSpec, classes: int) -> Arguments:
    x = {"tokens": batch.tokens, "length": batch.length}
    if spec.kind == "classifier":
        y = batch.outcome[:, None] if classes == 2 else batch.outcome.astype(np.int32)
        return x, y, batch.weight
    return x, batch.outcome, batch.mask


def carried_state(model: keras.Model) -> list[keras.Variable]:
    """The state that stateful layers keep between batches; Keras does not list it as variables."""
    from keras import tree

    return [
        state
        for layer in model.layers
        if getattr(layer, "stateful", False)
        for state in tree.flatten(layer.states)
    ]
