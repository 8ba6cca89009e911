"""The minimum memory that a declared network needs, so that an impossible one is never started."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.declaration.model_sections import BatchesSpec, ModelSpec, TokensSpec

GATES = {"simple": 1, "gru": 3, "lstm": 4, "peephole": 4}  # weight matrices of a cell
FLOAT = 4  # bytes
MOST_WEIGHTS = 16e9  # bytes; training also holds the gradient and the optimizer's two
MOST_BATCH = 64e9  # bytes of the layers' outputs for one batch


def too_large(model: ModelSpec, tokens: TokensSpec, batches: BatchesSpec) -> str | None:
    """Why no supported machine could train this; None if it may fit."""
    weights = FLOAT * weights_of(model, tokens.max_size or 0)
    if weights > MOST_WEIGHTS:
        return (
            f"model: its weights alone would need {weights / 1e9:,.0f} GB, the limit is "
            f"{MOST_WEIGHTS / 1e9:.0f} GB; reduce model.units, embedding or dense"
            + (", or tokens.max_size" if tokens.max_size else "")
        )
    batch = FLOAT * batches.batch_size * widest(batches) * sum(layer_sizes(model))
    if batch > MOST_BATCH:
        return (
            f"batches: one batch would need {batch / 1e9:,.0f} GB, the limit is "
            f"{MOST_BATCH / 1e9:.0f} GB; reduce batches.batch_size, the row width or "
            "model.units"
        )
    return None


def widest(batches: BatchesSpec) -> int:
    """Tokens in a row, as far as declared; the texts' lengths are not known yet."""
    buckets = batches.buckets
    return batches.sequence_length or (1 if buckets == "auto" else max(buckets, default=1))


def layer_sizes(model: ModelSpec) -> list[int]:
    """Numbers per token: those of the embedding, then of each recurrent layer."""
    return [model.embedding, *(units * _directions(model) for units in model.units)]


def weights_of(model: ModelSpec, vocabulary: int) -> int:
    """The weights of all layers, without biases."""
    sizes = layer_sizes(model)
    recurrent = sum(
        GATES[model.cell] * out * (before + out // _directions(model))
        for before, out in pairwise(sizes)
    )
    return sizes[0] * vocabulary + recurrent + _head(model, sizes[-1], vocabulary)


def _head(model: ModelSpec, width: int, vocabulary: int) -> int:
    """The weights above the recurrent layers, which have `width` outputs."""
    if model.kind == "classifier":
        return width * (3 if model.pool == "all" else 1) * (model.dense or 1)
    if model.tie_embeddings:
        return width * model.embedding if model.projected else 0
    return width * vocabulary


def _directions(model: ModelSpec) -> int:
    return 2 if model.bidirectional else 1
