"""The last layer of a language model, and what training takes of it."""
