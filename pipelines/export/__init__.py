"""A registered version as a folder that other programs load, without Folio and its registry."""
