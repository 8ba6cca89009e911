"""The flows' parameters, typed: Prefect's page shows a form and refuses nonsense before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

Pipeline = Annotated[
    str, Field(min_length=1, description="a name of the catalog, or the path of a declaration")
]
Profile = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]*$",
        description="which profile of the declaration, such as full or quick",
    ),
]
Override = Annotated[
    str,
    Field(
        pattern=r"^[a-z_][a-z0-9_.-]*=",
        description="key=value for a single value of the declaration, such as training.epochs=2",
    ),
]
StageName = Literal[
    "source", "corpus", "tokens", "batches", "model", "metrics", "release", "report"
]
# What a flow is called with is kept and shown by Prefect: a user, password or query in it would be.
Mirror = Annotated[
    str,
    Field(
        pattern=r"^([^@?#]|\}@)*$",
        description="folder, or address without "
        "password and query; those go into FOLIO_MIRROR of the worker, or as "
        "${NAME} of its environment",
    ),
]
TrainIn = Annotated[
    Literal["auto", "pool", "here"],
    Field(
        description="pool: a worker of the work pool gpu trains; here: this process; auto: "
        "the pool "
        "where such a worker is there"
    ),
]


def model_name(name: str) -> str:
    return Path(name).stem if name.endswith((".yaml", ".yml")) else name
