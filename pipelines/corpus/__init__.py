"""Stage corpus: raw files become documents, each in one split."""
