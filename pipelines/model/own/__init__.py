"""A network of the user's own."""
