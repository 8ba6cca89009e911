"""The package that anyone can ask; files scored."""
