"""Commands that answer with a registered model."""
