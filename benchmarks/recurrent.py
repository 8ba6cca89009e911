"""Training steps with the layers of pipelines/recurrent.py against Keras's own, on TensorFlow.

    python -m benchmarks.recurrent [--rounds N] [--jit] [CASE…]

The variants of a case take turns in one process, a burst of steps each, because a machine's speed
drifts more between processes than the layers differ. A step is `train_on_batch`, optimizer
included. For language models the rate is also set against the machine's largest matrix product.
Without --jit the operations are deterministic, as in the training stage; Keras then compiles no
whole step, so --jit gives that up to compare compiled steps too.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipelines.backend import load_keras, make_reproducible

SEED = 1
WIDTHS = (144, 272, 400)  # of the classifier's buckets; a width is trained on as one case
VOCABULARY, EMBEDDING, BATCH, TIME = 67, 256, 64, 100  # of the language models
CASES = [f"bi-LSTM 64, width {width}" for width in WIDTHS] + ["GRU 256", "LSTM 512", "GRU 1024"]


def classifier(layers: Any, width: int, jit: bool) -> Callable[[], float]:
    """A step of the sentiment model on 32 rows, of which about 85% of the slots are real."""
    import keras

    keras.utils.set_random_seed(SEED)
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(20_000, 20, mask_zero=True)(tokens)
    x = keras.layers.Bidirectional(layers.LSTM(64))(x)
    x = keras.layers.Dense(64, activation="relu")(x)
    model = keras.Model(tokens, keras.layers.Dense(1)(x))
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=jit)
    random = np.random.default_rng(SEED)
    rows = random.integers(1, 20_000, (32, width)).astype("int32")
    rows[np.arange(width) >= random.integers(int(0.7 * width), width + 1, (32, 1))] = 0
    labels = random.integers(0, 2, (32, 1)).astype("float32")
    return lambda: float(model.train_on_batch(rows, labels))


def language_model(layers: Any, cell: str, units: int, jit: bool) -> Callable[[], float]:
    """A step of a character model on 64 rows of 100 characters."""
    import keras

    keras.utils.set_random_seed(SEED)
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(VOCABULARY, EMBEDDING)(tokens)
    x = getattr(layers, cell)(units, return_sequences=True)(x)
    model = keras.Model(tokens, keras.layers.Dense(VOCABULARY)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, jit_compile=jit)
    text = np.random.default_rng(SEED).integers(0, VOCABULARY, (BATCH, TIME + 1)).astype("int32")
    return lambda: float(model.train_on_batch(text[:, :-1], text[:, 1:]))


def largest_product() -> Callable[[], float]:
    """A product of 2048 × 2048 matrices: the rate that no step can exceed."""
    import tensorflow as tf

    a = tf.random.stateless_uniform((2048, 2048), (SEED, 0))
    product = tf.function(lambda: tf.matmul(a, a)[0, 0])
    return lambda: float(product())


def variants(case: str, jit: bool) -> tuple[dict[str, Callable[[], float]], float, int]:
    """The steps to compare, the floating-point operations of a token, the tokens of a step."""
    import keras

    from pipelines import recurrent

    kinds = {"Keras": (keras.layers, False), "fast": (recurrent, False)}
    if jit:
        kinds |= {"Keras, jit": (keras.layers, True), "fast, jit": (recurrent, True)}
    if case.startswith("bi-LSTM"):
        width = int(case.split()[-1])
        return {k: classifier(m, width, jit) for k, (m, jit) in kinds.items()}, 0, 32 * width
    cell, units = case.split()[0], int(case.split()[1])
    weights = ((EMBEDDING + int(units)) * {"LSTM": 4, "GRU": 3}[cell] + VOCABULARY) * int(units)
    steps = {k: language_model(m, cell, units, jit) for k, (m, jit) in kinds.items()}
    return steps | {"product": largest_product()}, 6 * weights, BATCH * TIME


def measure(steps: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of a step in each round; two calls before them, which compile, are left out."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    first = {name: (step(), step())[0] for name, step in steps.items() if name != "product"}
    assert max(first.values()) - min(first.values()) < 1e-5, first  # the same loss
    for _ in range(rounds):
        for name, step in steps.items():
            calls, begin = 0, time.perf_counter()
            while calls < 1 or time.perf_counter() - begin < 0.5:
                step()
                calls += 1
            seconds[name].append((time.perf_counter() - begin) / calls)
    return seconds


def times_faster(seconds: list[float], reference: list[float]) -> float:
    """The median over rounds: only what ran in the same seconds is compared."""
    return statistics.median(b / a for a, b in zip(seconds, reference, strict=True))


def report(case: str, rounds: int, jit: bool) -> None:
    steps, operations, tokens = variants(case, jit)
    found = measure(steps, rounds)
    product = found.pop("product", None)
    for name, seconds in found.items():
        line = (f"{case:20} {name:11} {statistics.median(seconds) * 1e3:8.1f} ms "
                f"{tokens / statistics.median(seconds) / 1e3:7.2f} k tokens/s "
                f"{times_faster(seconds, found['Keras']):5.2f} × Keras")
        if product:
            share = times_faster(seconds, product) * tokens * operations / (2 * 2048 ** 3)
            line += f"  {share:4.0%} of the largest product's rate"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("case", nargs="*", default=CASES, help="; ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jit", action="store_true", help="compare compiled steps too")
    arguments = parser.parse_args()
    keras = load_keras("tensorflow")
    import tensorflow as tf

    if not arguments.jit:
        make_reproducible(keras, SEED)  # as the training stage does
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load "
          f"{os.getloadavg()[0]:.1f} · python {platform.python_version()}, "
          f"tensorflow {tf.__version__}, keras {keras.__version__}")
    for case in arguments.case:
        report(case, arguments.rounds, arguments.jit)


if __name__ == "__main__":
    main()
