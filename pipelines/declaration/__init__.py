"""The declaration of a pipeline: schema, loading, validation."""
