"""Artifacts, run records, settings, fingerprints, lineage."""
