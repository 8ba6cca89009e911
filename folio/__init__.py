"""Folio from Python: the commands `run`, `predict` and `generate`, and the batches as arrays.

    import folio

    folio.run("imdb", profile="quick")
    folio.load("imdb@champion").predict(["A film to remember."])
    folio.batches("imdb").train.arrays()["tokens"]

docs/python.md describes them. Everything heavy is imported when it is needed.
"""

from folio.models import load
from folio.runs import run
from folio.training_batches import batches
from pipelines.errors import FolioError, UsageError

__all__ = ["FolioError", "UsageError", "batches", "load", "run"]
