"""Stage release: the gate, the registered version, the verdict."""
