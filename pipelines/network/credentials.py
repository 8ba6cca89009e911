"""Secrets of an address by reference: `https://${USER}:${PASSWORD}@host/file?token=${TOKEN}`.

A declaration holds the reference, this module fills it in when the file is fetched, and nothing
keeps what came of it. What stands in run records and in Prefect's pages may hold references alone.
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
MIRROR = "FOLIO_MIRROR"  # in place of --mirror
ADVICE = (
    "leave user and password to ~/.netrc, or write ${NAME} for each secret and set NAME in "
    "the environment"
)
LookUp = Callable[[str], str | None]  # a reference's name -> the secret, None where it is not known
look_up: ContextVar[LookUp] = ContextVar("look_up", default=os.environ.get)


@contextmanager
def looked_up_by(found: LookUp) -> Iterator[None]:
    """While inside, references are filled in by `found`, and what it does not know as before."""
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
    """The address with its references filled in. Raises FolioError for one that is not set."""
    if "${" not in address:
        return address
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    whole = REFERENCE.fullmatch(parts.query)  # such as a signature of several values
    query = _secret(whole[1], address).lstrip("?") if whole else _filled(parts.query, address)
    return parts._replace(netloc=f"{_filled(user, address)}{at}{host}", query=query).geturl()


def _filled(text: str, address: str) -> str:
    return REFERENCE.sub(lambda found: quote(_secret(found[1], address), safe=""), text)


def _secret(name: str, address: str) -> str:
    secret = look_up.get()(name)
    if not secret:
        raise FolioError(
            f"{shown(address)}: its ${{{name}}} is not set; set it in the environment "
            "in which the run starts, a worker's too"
        )
    return secret


def refuse_secrets(overrides: Iterable[str]) -> None:
    """Raises UsageError where one of `key=value` names a source by an address with secrets: they
    stand in the run's record and in Prefect's pages."""
    for text in secret_overrides(overrides):
        raise UsageError(
            f"--set {text.partition('=')[0]}: the address holds a user, password or "
            f"query, which the run's record would show; {ADVICE}, or declare the "
            "address in the YAML file"
        )


def secret_overrides(overrides: Iterable[str]) -> list[str]:
    """Those of `key=value` that name a source by an address with secrets."""
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
        found = value  # it is refused in its turn
    found = found.get("url") if isinstance(found, dict) else found
    yield from map(str, found if isinstance(found, list) else [found])


def has_secrets(address: str) -> bool:
    """Whether it holds more than references where secrets stand."""
    if not is_certain(address):
        return "@" in address
    parts = urlsplit(address)
    user = REFERENCE.sub("", parts.netloc.rpartition("@")[0]).strip(":")
    values = [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
    return bool(user or parts.fragment or any(REFERENCE.sub("", value) for value in values))
