"""The processor that made an artifact: with another, sums of floats may be rounded differently."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

# By these, numerical libraries choose the code that they run.
DECISIVE = ("avx", "fma", "amx", "asimd", "sve")
# And by these, which a user may set.
SWITCHES = ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE", "XLA_FLAGS")


@cache
def processor() -> str:
    """Maker, family/model and instruction sets, such as "GenuineIntel 6/143 avx avx2 avx512f fma",
    and what the environment switches off."""
    try:
        told = _first_core(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        told = {}
    maker = told.get("vendor_id") or told.get("CPU implementer") or platform.processor()
    family = told.get("cpu family") or told.get("CPU architecture", "")
    number = told.get("model") or told.get("CPU part", "")
    sets = (told.get("flags") or told.get("Features", "")).split()
    return " ".join(
        [
            maker or platform.machine(),
            *([f"{family}/{number}"] if family else []),
            *sorted(name for name in sets if name.startswith(DECISIVE)),
            *(f"{name}={os.environ[name]}" for name in SWITCHES if name in os.environ),
        ]
    )


def _first_core(text: str) -> dict[str, str]:
    lines = text.partition("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def processors(manifest: Mapping[str, Any]) -> list[str]:
    """Those that made an artifact: a training may continue on another. Empty: an earlier version
    of Folio did not record it."""
    return manifest["counts"].get("processors") or [*filter(None, [manifest.get("processor")])]


def another_processor(then: Sequence[str], now: Sequence[str]) -> str:
    """How the processors differ, in words; "" if they do not, or if it is not known."""
    if not (then and now) or set(then) == set(now):
        return ""
    (old, had), (new, has) = _parts(then), _parts(now)
    changes = [f"with {name}" for name in has if name not in had]
    changes += [f"without {name}" for name in had if name not in has]
    return ", ".join([f"{old} → {new}" if old != new else old, *changes])


def _parts(described: Sequence[str]) -> tuple[str, list[str]]:
    """The names of processors, and the instruction sets and switches of the last one."""
    found = [one.split() for one in described]
    named = [" ".join(word for word in words if not _is_set(word)) for words in found]
    return " and ".join(dict.fromkeys(named)), [word for word in found[-1] if _is_set(word)]


def _is_set(word: str) -> bool:
    return word.startswith(DECISIVE) or "=" in word
