"""Secrets that Prefect keeps, for the references in addresses: `${prefect-secret:NAME}`."""

from __future__ import annotations

from prefect.blocks.system import Secret

from tasks.synchronous import in_thread

PREFIX = "prefect-secret:"


def secret_block(reference: str) -> str | None:
    """The value of the Secret block that a reference names; None for another kind of reference,
    and where there is no such block."""
    if not reference.startswith(PREFIX):
        return None
    try:
        return str(in_thread(Secret.load(reference.removeprefix(PREFIX))).get())
    except ValueError:  # as Prefect says that it has none
        return None
