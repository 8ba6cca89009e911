"""Where a model comes from, what differs, reproduction, verification."""
