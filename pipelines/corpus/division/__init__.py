"""Which document is in which split: columns of what decides it, and the decisions."""
