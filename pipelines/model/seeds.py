"""The seed of each initialiser and each dropout, from the run's seed and its place in the network.

Keras draws a seed that it is not given from Python's global generator, so that any other thread of
the process changes the weights. Here each has its own, whatever ran before and whatever is built
first.
"""

from __future__ import annotations

from pipelines.files.digests import digest_json

RANGE = 2**31  # Keras takes more, but not on every backend


def seed_for(seed: int, layer: str, role: str) -> int:
    """The seed of what plays `role` (kernel, dropout, …) in the layer of that name."""
    return int(digest_json([seed, layer, role])[:16], 16) % RANGE
