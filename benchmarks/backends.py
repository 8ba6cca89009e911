"""The same training on Keras's backends: TensorFlow, which is the default, and JAX."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

from benchmarks import char, imdb_epoch
from benchmarks.data import Declared, characters, imdb, made
from benchmarks.harness import Conditions, Measured, Side, Turn, take_turns
from benchmarks.results import Row, skipped

NOTE = (
    "Both sides are Folio's own training stage: the same layers, gradients and batches. "
    "JAX compiles the whole step as one program, TensorFlow each scan as a separate one."
)


def compare(conditions: Conditions) -> Iterator[Row]:
    if importlib.util.find_spec("jax") is None:
        yield skipped(
            "backends/imdb",
            "Training on TensorFlow",
            "on JAX",
            "jax is not installed (pip install 'folio[jax]')",
        )
        return
    found = _both(conditions, imdb_epoch.ours, imdb(conditions))
    ready = [round(side.ready_seconds) for side in found]
    yield Row.times(
        "backends/imdb",
        "IMDb training epoch on TensorFlow",
        "the same on JAX",
        *found,
        "s",
        None,
        f"{NOTE} Preparation, with all widths compiled, took {ready[0]} and {ready[1]} s.",
    )
    for cell, units in char.CASES:
        wishes = (f"model.cell={cell}", f"model.units=[{16 if conditions.quick else units}]")
        yield Row.times(
            f"backends/{cell}-{units}",
            f"{cell.upper()} {units} training on TensorFlow",
            "the same on JAX",
            *_both(conditions, char.ours, characters(conditions, *wishes)),
            "characters/s",
            None,
            NOTE,
        )


def _both(
    conditions: Conditions, prepare: Callable[..., Turn], declared: Declared
) -> tuple[Measured, Measured]:
    """`prepare`'s rounds on TensorFlow and on JAX."""
    pipeline, profile, overrides = declared
    batches = made(conditions, declared)["batches"]
    found = take_turns(
        {
            "tensorflow": Side(prepare, (declared, batches)),
            "jax": Side(
                prepare, ((pipeline, profile, (*overrides, "training.backend=jax")), batches)
            ),
        },
        conditions.repeats,
    )
    return found["tensorflow"], found["jax"]
