"""Readers: the files of a source become documents, one at a time."""
