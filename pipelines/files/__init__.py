"""Files on disk: the home, locks, digests, small JSON files, names, the system's limits."""
