"""Artifacts, run records, settings, code fingerprints, lineage."""
