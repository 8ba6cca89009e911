"""Addresses without user, password, query and fragment, to be shown and stored.

They are parsed, never matched by a pattern. A password that contains an unescaped `/`, `?` or `#`
moves its `@` behind what parses as the host; if the parts are uncertain, only the scheme is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

UNCERTAIN = "an address"
HIDDEN = "…"
DIGEST_DIGITS = 16
NEVER_IN_HOSTS = frozenset('\\"<>^`{|}')
SHORTEST_SECRET = 3  # a shorter one would occur in any message


def shown(address: str | Path) -> str:
    """An address for messages, logs, records and manifests."""
    if isinstance(address, Path):
        return str(address)
    text = address.strip()
    scheme, separator, _ = text.partition("://")
    if not separator:
        return _without_scheme(text)
    if not _is_scheme(scheme):
        return UNCERTAIN
    parts = _certain(text)
    if parts is None:
        return f"{scheme}://{HIDDEN}"
    return (
        f"{scheme}://{_host(parts)}{parts.path}{f'?{HIDDEN}' if parts.query else ''}"
        f"{f'#{HIDDEN}' if parts.fragment else ''}"
    )


def is_certain(address: str) -> bool:
    """Whether it is unambiguous, also with references instead of its secrets."""
    return _certain(address.strip()) is not None


def identity(address: str) -> str:
    """Like `shown`, with a digest of the query, which may select another file.

    User, password and fragment are not included: they do not change the file.
    """
    parts = _certain(address.strip())
    hidden = address.strip() if parts is None else parts.query
    if not hidden:
        return shown(address)
    return f"{shown(address)} ({sha256(hidden.encode()).hexdigest()[:DIGEST_DIGITS]})"


def kept(address: str) -> str:
    """`identity`, also of something that is one already: for the addresses in older manifests."""
    place, separator, digest = address.partition(" (")
    digits = digest.removesuffix(")")
    is_digest = len(digits) == DIGEST_DIGITS and digits.isalnum()
    clean = place == shown(place) and (is_digest if separator else True)
    return address if clean else identity(address)


def config_shown(config: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest's configuration; older ones contain addresses as they were declared."""
    return {
        key: list(map(kept, value)) if key == "source.url" and value else value
        for key, value in config.items()
    }


def redacted(text: str, address: str) -> str:
    """A library's message about `address`, with everything hidden that `shown` hides."""
    text = text.replace(address, shown(address))
    for secret in sorted(_secrets(address), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _without_scheme(text: str) -> str:
    if "@" in text:
        return UNCERTAIN
    end = next((place for place, character in enumerate(text) if character in "?#"), None)
    return text if end is None else f"{text[: end + 1]}{HIDDEN}"


def _is_scheme(text: str) -> bool:
    return (
        text[:1].isalpha()
        and text.isascii()
        and all(character.isalnum() or character in "+-." for character in text)
    )


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _certain(text: str) -> SplitResult | None:
    """The address's parts, or None if they are ambiguous."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises ValueError for one that is no number
    except ValueError:
        return None
    if "://" not in text:
        return None
    behind = parts.path + parts.query + parts.fragment
    odd = any(character.isspace() or character in NEVER_IN_HOSTS for character in _host(parts))
    return None if "@" in behind or odd or (parts.netloc and not parts.hostname) else parts


def _secrets(address: str) -> set[str]:
    """Each part of an address that must be hidden, as written and decoded."""
    parts = _certain(address.strip())
    if shown(address) == address:
        return set()
    if parts is None:  # it is unknown which part is the secret
        rest = address.partition("://")[2] or address
        found = {rest, *rest.translate(str.maketrans("/:@?#&=", " " * 7)).split()}
    else:
        user = parts.netloc.rpartition("@")[0]
        found = {
            user,
            *user.split(":", 1),
            *user.replace(":", "@").split("@"),  # as some parsers see it
            parts.query,
            parts.fragment,
            *(value for text in (parts.query, parts.fragment) for _, value in parse_qsl(text)),
        }
    found |= {unquote(secret) for secret in found}
    return {secret for secret in found if len(secret) >= SHORTEST_SECRET}
