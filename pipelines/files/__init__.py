"""Files on disk: the home, locks, digests, small JSON files, names, what the machine refuses."""
