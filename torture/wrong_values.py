"""What is put in place of a right value."""

from __future__ import annotations

import json
import random
from functools import cache
from typing import Any

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**30, "", "x", "../..", "\x1b[2J", "a\nb", [], {}, [[]], {"a": 1},
    ".inf", ".nan", "2024-01-01", "${HOME}", "!!python/object:os.system", "&a [*a]", "9" * 5000,
)  # fmt: skip
MARKS = ("\t", "{", "\0", "]", ": :", "%", "&x", "*x", "\u2028", "---")
GIVEN = (
    "play", "nothing", "play@1", "play@99", "../../etc/passwd", "", " ", "-1", "1e9", "nan",
    "\x1b[31m", "a=b", "training.epochs=0", "training.epochs", "x" * 5000, "/dev/null",
    "/dev/zero", ".", "é\udcff",
)  # fmt: skip
NAMES = ("colour", "", "1", "a.b", "é")  # of keys


def harmed(chance: random.Random, whole: dict[str, Any]) -> str:
    """Changes one value or key of a nested dictionary; says which and how."""
    place: Any = whole
    while True:
        key = chance.choice(list(place))
        if not (isinstance(place[key], dict) and place[key]) or chance.random() < 0.2:
            break
        place = place[key]
    harm = chance.choice(("value", "value", "key", "removed"))
    if harm == "key":
        place[chance.choice((*NAMES, key.upper()))] = place[key]
    elif harm == "removed":
        del place[key]
    else:
        place[key] = chance.choice(VALUES)
    return f"{harm} of {key}"


def body(chance: random.Random, right: dict[str, Any]) -> tuple[str, bytes]:
    """What is wrong with it, and the body of a request that should be this JSON."""
    kind = chance.choice(("harmed", "harmed", "harmed", "cut", "other", "noise", "nested", "large"))
    if kind == "harmed":
        changed = json.loads(json.dumps(right))
        return harmed(chance, changed) if changed else "empty", _bytes(changed)
    if kind == "other":
        value = chance.choice((*VALUES, float("nan"), [right] * 3))
        return f"{str(value)[:20]!r} as a whole", _bytes(value)
    whole = _bytes(right)
    if kind == "cut":
        return kind, whole[: chance.randrange(len(whole))]
    if kind == "noise":
        return kind, chance.randbytes(chance.choice((1, 100, 10_000)))
    if kind == "nested":
        return kind, b'{"a": ' + b"[" * 100_000
    return kind, _large()


@cache
def _large() -> bytes:
    return b'{"texts": ["' + b"a" * 20_000_000 + b'"]}'


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode()
