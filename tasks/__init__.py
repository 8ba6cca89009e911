"""Prefect tasks: thin wrappers around the stages."""
