"""Lineage, differences, reproduction, verification."""
