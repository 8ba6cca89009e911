"""The same training on Keras's backends: TensorFlow, which is the default, and JAX."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from benchmarks import char, imdb_epoch
from benchmarks.data import characters, imdb, made
from benchmarks.harness import Conditions, Side, take_turns
from benchmarks.results import Row, skipped

JAX = "training.backend=jax"
NOTE = ("Both sides are Folio's own training stage: the same layers, gradients and batches. JAX "
        "compiles the whole step as one program, TensorFlow each scan as one of its own.")


def compare(conditions: Conditions) -> Iterator[Row]:
    if importlib.util.find_spec("jax") is None:
        yield skipped("backends/imdb", "Training on TensorFlow", "on JAX",
                      "jax is not installed (pip install 'folio[jax]')")
        return
    place = made(conditions, imdb(conditions))
    found = take_turns({backend: Side(imdb_epoch.ours, (imdb(conditions, *wish), place["batches"]))
                        for backend, wish in (("tensorflow", ()), ("jax", (JAX,)))},
                       conditions.repeats)
    ready = [round(found[backend].ready_seconds) for backend in ("tensorflow", "jax")]
    yield Row.times("backends/imdb", "IMDb training epoch on TensorFlow", "the same on JAX",
                    found["tensorflow"], found["jax"], "s", None,
                    f"{NOTE} To get ready, all widths compiled, took {ready[0]} and {ready[1]} s.")
    for cell, units in char.CASES:
        yield _characters(conditions, cell, 16 if conditions.quick else units)


def _characters(conditions: Conditions, cell: str, units: int) -> Row:
    wishes = (f"model.cell={cell}", f"model.units=[{units}]")
    place = made(conditions, characters(conditions, *wishes))
    found = take_turns({backend: Side(char.ours, (characters(conditions, *wishes, *wish),
                                                  place["batches"]))
                        for backend, wish in (("tensorflow", ()), ("jax", (JAX,)))},
                       conditions.repeats)
    return Row.times(f"backends/{cell}-{units}", f"{cell.upper()} {units} training on TensorFlow",
                     "the same on JAX", found["tensorflow"], found["jax"], "characters/s", None,
                     NOTE)
