"""Addresses, the secrets in them, and HTTP requests that end."""
