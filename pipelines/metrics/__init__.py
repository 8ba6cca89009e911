"""Stage metrics: the model measured on held-out text."""
