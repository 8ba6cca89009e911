"""The JSON schema of declarations, and the table of all keys that is made from it."""
