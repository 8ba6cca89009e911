"""Finds what is missing, stale or stuck, and fixes it."""
