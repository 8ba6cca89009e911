"""Reads the YAML of a declaration, and says what is wrong with it."""
