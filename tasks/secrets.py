"""Prefect's Secret blocks, for references in addresses: `${prefect-secret:NAME}`."""

from __future__ import annotations

from prefect.blocks.system import Secret

from tasks.synchronous import in_thread

PREFIX = "prefect-secret:"


def secret_block(reference: str) -> str | None:
    """The value of the Secret block in a reference; None for other references and missing
    blocks."""
    if not reference.startswith(PREFIX):
        return None
    try:
        return str(in_thread(Secret.load(reference.removeprefix(PREFIX))).get())
    except ValueError:  # how Prefect reports a missing block
        return None
