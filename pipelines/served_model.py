"""The loader module of models that were registered before it moved to `pipelines.serving`."""

from pipelines.serving.mlflow_model import _load_pyfunc

__all__ = ["_load_pyfunc"]
