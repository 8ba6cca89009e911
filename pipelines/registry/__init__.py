"""The model registry: versions, champions, the journal."""
