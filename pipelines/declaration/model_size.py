"""How much memory a declared network needs at least, so that an impossible one is never begun."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.declaration.data_sections import BatchesSpec, TokensSpec
    from pipelines.declaration.model_sections import ModelSpec

GATES = {"simple": 1, "gru": 3, "lstm": 4, "peephole": 4}  # matrices of a cell
FLOAT = 4  # bytes
MOST_WEIGHTS = 16e9  # bytes; training holds the gradient and the optimizer's two besides
MOST_BATCH = 64e9  # bytes of what the layers put out for one batch


def too_large(model: ModelSpec, tokens: TokensSpec, batches: BatchesSpec) -> str | None:
    """Why no machine that Folio is for could train this; None: it may fit."""
    weights = FLOAT * weights_of(model, tokens.max_size or 0)
    if weights > MOST_WEIGHTS:
        return (
            f"model: its weights alone would need {weights / 1e9:,.0f} GB, and "
            f"{MOST_WEIGHTS / 1e9:.0f} GB are the most; lower model.units, embedding or dense"
            + (", or tokens.max_size" if tokens.max_size else "")
        )
    batch = FLOAT * batches.batch_size * widest(batches) * sum(layer_sizes(model))
    if batch > MOST_BATCH:
        return (
            f"batches: one batch would need {batch / 1e9:,.0f} GB, and "
            f"{MOST_BATCH / 1e9:.0f} GB are the most; lower batches.batch_size, the rows' "
            "width or model.units"
        )
    return None


def widest(batches: BatchesSpec) -> int:
    """Tokens in a row, as far as the declaration says; the texts' lengths are not known yet."""
    buckets = batches.buckets
    return batches.sequence_length or (1 if buckets == "auto" else max(buckets, default=1))


def layer_sizes(model: ModelSpec) -> list[int]:
    """Numbers a token: those of the embedding, then of each recurrent layer."""
    return [model.embedding, *(units * _directions(model) for units in model.units)]


def weights_of(model: ModelSpec, vocabulary: int) -> int:
    """The weights of all layers, but for biases."""
    sizes = layer_sizes(model)
    recurrent = sum(
        GATES[model.cell] * out * (before + out // _directions(model))
        for before, out in pairwise(sizes)
    )
    head = vocabulary if model.kind == "language_model" else model.dense or 1
    return sizes[0] * vocabulary + recurrent + sizes[-1] * head


def _directions(model: ModelSpec) -> int:
    return 2 if model.bidirectional else 1
