"""Draws text from a language model, token by token.

The next token is argmax(logits + temperature · g), g Gumbel noise: a draw from
softmax(logits / temperature) (Gumbel 1954), and the likeliest token at temperature 0. The noise
is made by numpy, so every backend draws the same.

The state is carried along; or, with a `context` of N, each token is drawn after reading the N
before it from the zero state. No token is read twice for that: N readers a stream go on side by
side, each begun a token after the one before it, and the one that has read N tokens draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.declaration.model_sections import ModelSpec
from pipelines.errors import UsageError
from pipelines.model.decoding import States, advance_of
from pipelines.model.network import STATES
from pipelines.tokens.vocabulary import PAD_ID, UNKNOWN_ID, Vocabulary

if TYPE_CHECKING:
    import keras

STEPS = 256  # tokens drawn by one compiled call
NOISE_VALUES = 2**23  # at once: 32 MiB
LEAST = np.float32(1e-30)  # keeps the noise finite


def sample(
    model: keras.Model,
    spec: ModelSpec,
    start: np.ndarray,
    streams: int,
    length: int,
    temperature: float | np.ndarray,
    seed: int,
    top_k: int | None = None,
    never: tuple[int, ...] = (PAD_ID, UNKNOWN_ID),
    context: int | None = None,
) -> np.ndarray:
    """Continuations (streams, length) of `start` (tokens,), int32, from the zero state.

    `model` is `build_model(spec, vocabulary_size)`; `temperature` one number or one a stream;
    `top_k` draws from that many likeliest tokens alone; the ids `never`
    (`Vocabulary.never_drawn`) do not come out; of the text so far the last `context` tokens are
    read, all where it is None. Stream k draws from (seed, k), whatever the number of streams and
    the length. An empty start begins from the least id that may come out. Raises UsageError on
    impossible values.
    """
    temperatures = _checked(streams, length, temperature, seed, top_k, context)
    choices = tuple(i for i in range(model.output["logits"].shape[-1]) if i not in never)
    known = np.concatenate([start, [] if len(start) else choices[:1]]).astype(np.int32)
    if context is not None:
        known = known[-context:]
        if context >= len(known) + length - 1:  # all that is ever read: the carried state is it
            context = None
    forced = np.concatenate([known[1:], np.full(length, -1)]).astype(np.int32)
    advance = advance_of(
        model, spec, choices, None if top_k is None else min(top_k, len(choices)), context
    )()
    noise = Noise(seed, temperatures, len(choices))
    steps = max(1, min(STEPS, NOISE_VALUES // (streams * len(choices))))
    token = np.full(streams, known[0], np.int32)
    states = zero_states(spec, streams * (context or 1))
    drawn = []
    for first in range(0, len(forced), steps):
        block = forced[first : first + steps]
        states, ids = advance(token, states, block, noise.block(block, steps))
        token = np.where(block[-1] < 0, ids[-1], block[-1]).astype(np.int32)
        drawn.append(ids)
    return np.concatenate(drawn)[len(known) - 1 :][:length].T


def continuation(vocabulary: Vocabulary, start: str, ids: np.ndarray) -> str:
    """What drawn `ids` add to a text that is `start` so far, up to the token that ends documents.

    Words follow a start after a blank.
    """
    blank = " " if vocabulary.kind == "word" and start and not start[-1].isspace() else ""
    return blank + vocabulary.decode(until_end(vocabulary, ids))


def until_end(vocabulary: Vocabulary, ids: np.ndarray) -> np.ndarray:
    """Those before the first token that ends documents, where the vocabulary has one."""
    if vocabulary.end_id is None:
        return ids
    ends = np.flatnonzero(ids == vocabulary.end_id)
    return ids[: ends[0]] if len(ends) else ids


def zero_states(spec: ModelSpec, rows: int) -> States:
    """The state before the first token: one array (rows, units) per name of `state_names`."""
    return [
        np.zeros((rows, units), np.float32)
        for units in spec.units
        for _ in range(STATES[spec.cell])
    ]


class Noise:
    """Gumbel noise times temperature, for the free steps; each stream has a generator."""

    def __init__(self, seed: int, temperatures: np.ndarray, choices: int) -> None:
        self.temperatures, self.choices = temperatures, choices
        self._generators = [np.random.default_rng([seed, k]) for k in range(len(temperatures))]

    def block(self, forced: np.ndarray, steps: int) -> np.ndarray:
        """(steps, streams, choices) float32; zero where the next token is forced, and after."""
        noise = np.zeros((steps, len(self.temperatures), self.choices), np.float32)
        free = np.flatnonzero(forced < 0)
        shape = (len(free), self.choices)
        for k, (generator, temperature) in enumerate(
            zip(self._generators, self.temperatures, strict=True)
        ):
            # Minus the logarithm of an exponential variable is a Gumbel variable.
            waits = np.maximum(generator.standard_exponential(shape, np.float32), LEAST)
            noise[free, k] = -np.log(waits) * temperature
        return noise


def _checked(
    streams: int,
    length: int,
    temperature: float | np.ndarray,
    seed: int,
    top_k: int | None,
    context: int | None,
) -> np.ndarray:
    """The temperatures (streams,). Raises UsageError."""
    for name, value, least in (
        ("streams", streams, 1),
        ("length", length, 1),
        ("seed", seed, 0),
        ("top_k", top_k, 1),
        ("context", context, 1),
    ):
        if value is not None and value < least:
            raise UsageError(f"{name} {value}: give {least} or more")
    temperatures = np.asarray(temperature, np.float32)
    if not (np.isfinite(temperatures).all() and (temperatures >= 0).all()):
        raise UsageError(
            f"temperature {temperature}: give 0 (always the likeliest token) or more, such as 0.8"
        )
    return np.broadcast_to(temperatures, (streams,))
