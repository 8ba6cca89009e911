"""The softmax over a target and some drawn tokens, for training with large vocabularies.

Candidates are drawn by rank (Zipf), as ids are in the order of frequency; each logit is reduced by
the logarithm of how often its token is expected among them (Jean et al. 2015). Evaluation uses the
whole softmax. Drawn from seed and step alone, so a killed training continues with the same ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

HIDDEN = -1e9  # the logit of a candidate that is the target itself


def draw(seed: int, step: int, part: int, shape: tuple[int, int], vocabulary: int) -> np.ndarray:
    """Candidates (rows, of each row) for a part of a step; all rows use all of them."""
    random = np.random.default_rng([seed, step, part, *b"candidates"])
    drawn = np.exp(random.random(shape) * math.log(vocabulary + 1)) - 1
    return np.minimum(drawn, vocabulary - 1).astype(np.int32)


def logits(
    x: Any, read: dict[str, Any], embedding: keras.layers.Layer, biases: keras.layers.Layer
) -> Any:
    """(batch, time, width) -> (batch, time, 1 + candidates); the first is the target's."""
    from keras import ops

    vocabulary, size = embedding.input_dim, embedding.output_dim
    targets, candidates = read["targets"], ops.reshape(read["candidates"], (1, -1))
    own = ops.sum(x * embedding(targets), axis=-1, keepdims=True) + biases(targets)
    vectors = ops.reshape(embedding(candidates), (-1, size))
    others = ops.matmul(x, ops.transpose(vectors))  # (batch, time, candidates)
    others = others + ops.reshape(biases(candidates), (1, 1, -1))
    count = ops.cast(ops.sum(ops.ones_like(candidates)), x.dtype)
    own = own - _expected(ops.expand_dims(targets, 2), count, vocabulary, x.dtype)
    others = others - _expected(ops.expand_dims(candidates, 0), count, vocabulary, x.dtype)
    hits = ops.equal(ops.expand_dims(targets, 2), ops.expand_dims(candidates, 0))
    return ops.concatenate([own, ops.where(hits, HIDDEN, others)], axis=2)


def _expected(ids: Any, count: Any, vocabulary: int, dtype: str) -> Any:
    """The logarithm of how often each id is expected among `count` draws."""
    from keras import ops

    share = ops.log1p(1 / (ops.cast(ids, dtype) + 1)) / math.log(vocabulary + 1)
    return ops.log(share * count)
