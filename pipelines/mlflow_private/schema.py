"""The MLflow whose private parts this room uses: 3.17.

Another version may have other tables and names. pyproject.toml allows no other, and
tests/pipelines/mlflow_private/ reports what a new one lacks.
"""

PROVED = "3.17"
SCHEMA = "dc11669786a5"  # of its tables: no row of others is written
LOCK_SECONDS = 10  # another process may lock the database for that long
