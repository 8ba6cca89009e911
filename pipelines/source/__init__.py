"""Stage source: the raw files, byte for byte, checksum proved."""
