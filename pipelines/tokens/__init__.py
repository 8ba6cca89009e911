"""Stage tokens: documents become token ids, with their vocabulary."""
