"""Model packages: prediction, generation and scoring of files."""
