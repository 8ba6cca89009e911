"""Formats the commands' output for a terminal."""
