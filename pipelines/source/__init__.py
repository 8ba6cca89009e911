"""Stage source: the raw files, byte for byte, with verified checksums."""
