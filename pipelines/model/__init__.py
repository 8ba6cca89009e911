"""Stage model: batches become a trained network."""
