"""What is missing, stale or stuck, and how to fix it."""
