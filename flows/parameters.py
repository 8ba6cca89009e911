"""Typed parameters of the flows: Prefect's UI shows a form and rejects invalid values before a
run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Pipeline = Annotated[
    str, Field(min_length=1, description="a name in the catalog, or the path of a declaration")
]
Profile = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_+-]*$",
        description="a profile of the declaration, such as full or quick",
    ),
]
Override = Annotated[
    str,
    Field(
        pattern=r"^[a-z_][a-z0-9_.-]*=",
        description="key=value changes a value of the declaration, such as training.epochs=2",
    ),
]
StageName = Literal[
    "source", "corpus", "start", "tokens", "batches", "model", "mix", "metrics", "release", "report"
]
# Prefect stores and shows the parameters of a flow, so they must not contain a user, password or
# query.
Mirror = Annotated[
    str,
    Field(
        pattern=r"^([^@?#]|\}@)*$",
        description="a folder, or an address without password and query; put those into "
        "FOLIO_MIRROR of the worker, or write ${NAME} for variables of its environment",
    ),
]
TrainIn = Annotated[
    Literal["auto", "pool", "here"],
    Field(
        description="pool: train on a worker of the work pool gpu; here: in this process; auto: in "
        "the pool if it has a worker"
    ),
]
Cluster = Annotated[
    str,
    Field(
        pattern=r"^(local:[1-9][0-9]{0,2}|(tcp|tls)://[^/?#@]+:[0-9]+/?)$",
        description="tcp://host:port or tls://host:port of a Dask scheduler, whose workers do the "
        "stages corpus, tokens and batches, or local:N for N processes; default: FOLIO_CLUSTER",
    ),
]
