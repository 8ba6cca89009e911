"""The audit finds what a feed knows, and never ends green without one; the bill is complete."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from supply import __main__ as supply
from supply.lock import Package, locked
from supply.osv import holes
from supply.sbom import bill
from tests.conftest import PROJECT

LOCK = PROJECT / "requirements.txt"


def record(name: str = "Jinja2", **affected: Any) -> dict[str, Any]:
    package = {"ecosystem": "PyPI", "name": name}
    return {"id": "GHSA-1", "summary": "a hole", "affected": [{"package": package, **affected}]}


def within(*events: dict[str, str]) -> dict[str, Any]:
    return {"ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}


@pytest.mark.parametrize(
    ("affected", "hit"),
    [
        ({"versions": ["3.1.2"]}, True),
        ({"versions": ["3.1.1"]}, False),
        (within({"introduced": "0"}), True),
        (within({"introduced": "0"}, {"fixed": "3.1.2"}), False),
        (within({"introduced": "0"}, {"fixed": "3.1.10"}), True),
        (within({"introduced": "0"}, {"last_affected": "3.1.2"}), True),
        (within({"introduced": "0"}, {"last_affected": "3.1.1"}), False),
        (within({"introduced": "0"}, {"fixed": "1"}, {"introduced": "3"}), True),
        (within({"introduced": "4"}), False),
    ],
)
def test_a_version_is_hit_or_not(affected: dict[str, Any], hit: bool) -> None:
    found, count = holes([Package("jinja2", "3.1.2")], [record(**affected)])
    assert (len(found), count) == (hit, 1)


def test_what_was_withdrawn_or_is_of_others_is_none() -> None:
    own, always = [Package("jinja2", "3.1.2")], within({"introduced": "0"})
    assert not holes(own, [record(**always) | {"withdrawn": "2025-01-01T00:00:00Z"}])[0]
    assert not holes(own, [record("another", **always)])[0]
    npm = record(**always)
    npm["affected"][0]["package"]["ecosystem"] = "npm"
    assert holes(own, [npm]) == ([], 0)


def audited(monkeypatch: pytest.MonkeyPatch, *given: object) -> int:
    monkeypatch.setattr("sys.argv", ["supply", "audit", *map(str, given)])
    return supply.main()


def test_an_audit_ends_red_or_says_that_it_was_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert audited(monkeypatch) == audited(monkeypatch, tmp_path / "nowhere") == 2
    assert audited(monkeypatch, tmp_path) == 2
    assert "nothing was audited" in capsys.readouterr().err
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as packed:
        packed.writestr(
            "GHSA-0.json", json.dumps(record("not-ours", **within({"introduced": "0"})))
        )
    assert audited(monkeypatch, tmp_path) == 0
    (tmp_path / "GHSA-1.json").write_text(json.dumps(record(**within({"introduced": "0"}))))
    assert audited(monkeypatch, tmp_path) == 1
    assert "GHSA-1 a hole (no fixed version)" in capsys.readouterr().out
    (tmp_path / "GHSA-2.json").write_text("[]")
    assert audited(monkeypatch, tmp_path) == 2


def test_the_bill_names_each_locked_package_once() -> None:
    packages = locked(LOCK)
    pinned = [line for line in LOCK.read_text().splitlines() if "==" in line and line[0].isalnum()]
    assert len(packages) == len(pinned) > 100
    document = bill(packages)
    assert document == bill(packages) and document["specVersion"] == "1.6"
    assert [one["purl"] for one in document["components"]] == [one.purl for one in packages]
    licensed = [one for one in document["components"] if "licenses" in one]
    assert len(licensed) > 0.9 * len(packages)
