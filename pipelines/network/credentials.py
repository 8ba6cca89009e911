"""Secrets in addresses by reference: `https://${USER}:${PASSWORD}@host/file?token=${TOKEN}`.

A declaration contains the reference, this module resolves it when the file is fetched, and the
result is never stored. Run records and Prefect's pages contain only references.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote, urlsplit

from pipelines.errors import FolioError, UsageError
from pipelines.network.addresses import is_certain, shown

REFERENCE = re.compile(r"\$\{([^${}]*)\}")
MIRROR = "FOLIO_MIRROR"  # instead of --mirror
ADVICE = (
    "put user and password into ~/.netrc, or write ${NAME} for each secret and set NAME "
    "in the environment"
)
LookUp = Callable[[str], str | None]  # a reference's name -> the secret, None if it is unknown
look_up: ContextVar[LookUp] = ContextVar("look_up", default=os.environ.get)


@contextmanager
def looked_up_by(found: LookUp) -> Iterator[None]:
    """While inside, references are resolved by `found`; the others as before."""
    before = look_up.get()

    def both(name: str) -> str | None:
        secret = before(name)
        return found(name) if secret is None else secret

    token = look_up.set(both)
    try:
        yield
    finally:
        look_up.reset(token)


def resolved(address: str) -> str:
    """The address with its references resolved. Raises FolioError for one that is not set."""
    if "${" not in address:
        return address
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    whole = REFERENCE.fullmatch(parts.query)  # such as a signature with several values
    query = _secret(whole[1], address).lstrip("?") if whole else _filled(parts.query, address)
    return parts._replace(netloc=f"{_filled(user, address)}{at}{host}", query=query).geturl()


def _filled(text: str, address: str) -> str:
    return REFERENCE.sub(lambda found: quote(_secret(found[1], address), safe=""), text)


def _secret(name: str, address: str) -> str:
    secret = look_up.get()(name)
    if not secret:
        raise FolioError(
            f"{shown(address)}: ${{{name}}} is not set; set it in the environment of the "
            "run, or of the worker"
        )
    return secret


def refuse_secrets(overrides: Iterable[str]) -> None:
    """Raises UsageError if one of `key=value` sets a source address with secrets: the run's record
    and Prefect's pages show these values."""
    for text in secret_overrides(overrides):
        raise UsageError(
            f"--set {text.partition('=')[0]}: the address contains a user, password or "
            f"query, which the run's record would show; {ADVICE}, or declare the address "
            "in the YAML file"
        )


def secret_overrides(overrides: Iterable[str]) -> list[str]:
    """Those of `key=value` that set a source address with secrets."""
    found = []
    for text in overrides:
        key, _, value = text.partition("=")
        if key.strip() in ("source", "source.url") and any(map(has_secrets, _urls(value))):
            found.append(text)
    return found


def _urls(value: str) -> Iterator[str]:
    """The addresses in the value of an override."""
    import yaml

    try:
        found: Any = yaml.safe_load(value)
    except yaml.YAMLError:
        found = value  # it is rejected separately
    found = found.get("url") if isinstance(found, dict) else found
    yield from map(str, found if isinstance(found, list) else [found])


def has_secrets(address: str) -> bool:
    """Whether it contains anything but references where secrets can be."""
    if not is_certain(address):
        return "@" in address
    parts = urlsplit(address)
    user = REFERENCE.sub("", parts.netloc.rpartition("@")[0]).strip(":")
    values = [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
    return bool(user or parts.fragment or any(REFERENCE.sub("", value) for value in values))
