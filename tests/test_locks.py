"""The two locks: the run-time one has nothing that only development needs, and both agree."""

from __future__ import annotations

import re
import tomllib
from functools import cache

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import PROJECT

DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = DECLARED["optional-dependencies"]
RUN_TIME = ("postgresql", "s3")  # the extras in requirements.txt, as `make lock` says
PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)


@cache
def locked(name: str) -> dict[str, str]:
    """{package: version} of a lock."""
    text = (PROJECT / name).read_text(encoding="utf-8")
    return {canonicalize_name(package): version for package, version in PIN.findall(text)}


def named(declared: list[str]) -> dict[str, Requirement]:
    found = [Requirement(one) for one in declared]
    return {canonicalize_name(one.name): one for one in found if one.name != "folio"}


def test_the_run_time_lock_has_no_development_package() -> None:
    development = named(EXTRAS["dev"]).keys()
    assert {"pytest", "ruff", "mypy", "hypothesis", "vulture"} <= development
    assert development & locked("requirements.txt").keys() == set()
    assert development - locked("requirements-dev.txt").keys() == set()


def test_what_runs_in_production_is_what_was_tested() -> None:
    tested = locked("requirements-dev.txt")
    run = locked("requirements.txt")
    assert len(run) > 100
    assert {name: tested.get(name) for name in run} == run


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_all_that_is_declared_is_locked_within_its_bounds(lock: str) -> None:
    extras = RUN_TIME if lock == "requirements.txt" else EXTRAS.keys() - {"torch"}
    declared = DECLARED["dependencies"] + [one for extra in extras for one in EXTRAS[extra]]
    pinned = locked(lock)
    wrong = {
        str(one): pinned.get(name)
        for name, one in named(declared).items()
        if name not in pinned or not one.specifier.contains(pinned[name], prereleases=True)
    }
    assert wrong == {}
