"""The Prefect server of a home: starts, shares and stops it."""
