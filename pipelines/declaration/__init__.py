"""What a declaration may say, and how it is read."""
