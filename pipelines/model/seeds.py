"""The seed of each initializer and each dropout, from the run's seed and its place in the network.

Without an explicit seed, Keras takes one from Python's global generator, so any other thread of the
process would change the weights. Here each has its own, regardless of what ran or was built before.
"""

from __future__ import annotations

from pipelines.files.digests import digest_json

RANGE = 2**31  # Keras accepts larger seeds, but not on every backend


def seed_for(seed: int, layer: str, role: str) -> int:
    """The seed of `role` (kernel, dropout, …) in the layer with this name."""
    return int(digest_json([seed, layer, role])[:16], 16) % RANGE
