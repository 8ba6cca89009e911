"""MLflow's entry point into a package: `mlflow.pyfunc.load_model` calls `_load_pyfunc` here.

This module is part of every registered model, together with the modules that it imports.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import FolioError
from pipelines.serving.predictor import Predictor

if TYPE_CHECKING:
    import pandas as pd

# (name, default) of the params that `predict(…, params={…})` accepts for a language model
PARAMETERS = (("length", 100), ("temperature", 0.8), ("seed", 1))


def columns(kind: str, labels: Sequence[str]) -> dict[str, type]:
    """The columns of the answers, and their types; a dict has probabilities by label."""
    if kind == "language_model":
        return {"next": str, "probability": float, "continuation": str, "error": str}
    more = {"probabilities": dict} if len(labels) > 2 else {"positive_probability": float}
    return {"label": str, "probability": float, **more, "error": str}


class ServedModel:
    """A frame with the column `text` in, `columns` out, one row per text.

    `probability` is that of the label or of the next token; `error` says why a text got neither.
    Missing values are None.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(
        self, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        import pandas as pd

        given = model_input["text"]
        texts = given.astype(object).where(given.notna(), None).tolist()
        if self.predictor.kind == "classifier":
            rows = self.predictor.predict(texts)
        else:
            settings = dict(PARAMETERS) | (params or {})
            rows = [self._go_on(text, **settings) for text in texts]
        names = columns(self.predictor.kind, self.predictor.labels)
        answers = {name: [row.get(name) for row in rows] for name in names}
        # As objects, because pandas would turn None into NaN, which is not JSON.
        return pd.DataFrame(
            {
                name: pd.Series(values, model_input.index, object if None in values else None)
                for name, values in answers.items()
            },
            index=model_input.index,
        )

    def _go_on(self, text: str, length: int, temperature: float, seed: int) -> dict[str, Any]:
        try:
            best = self.predictor.next_tokens(text, 1)[0]
            made = self.predictor.generate([text], length, temperature, seed)[0]
        except FolioError as error:
            return {"error": str(error)}
        return {
            "next": best["token"],
            "probability": best["probability"],
            "continuation": made["text"],
        }


def _load_pyfunc(path: str) -> ServedModel:
    return ServedModel(Predictor.load(Path(path), lean=False))  # the process is the user's
