"""Stage batches: token ids become padded batches in Parquet."""
