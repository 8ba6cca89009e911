"""Addresses, the secrets in them, and HTTP requests with time limits."""
