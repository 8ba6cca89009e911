"""What Folio is made of.

    python -m supply audit FEED      locked versions against a folder of OSV records (osv.dev)
    python -m supply licences        each package with its licence
    python -m supply sbom            CycloneDX, as JSON

`audit` exits with 0 if nothing is known against the locked versions, 1 if something is, 2 if
nothing could be compared.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pipelines.files.home import PROJECT
from supply.lock import Package, licence, locked
from supply.osv import holes, records
from supply.sbom import bill

NOT_AUDITED = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m supply", description=__doc__)
    parser.add_argument("what", choices=("audit", "licences", "sbom"))
    parser.add_argument("feed", nargs="?", default="", help="a folder with files of osv.dev")
    parser.add_argument("--lock", type=Path, default=PROJECT / "requirements.txt")
    options = parser.parse_args()
    packages = locked(options.lock)
    if options.what == "audit":
        return audit(packages, options.feed)
    if options.what == "sbom":
        print(json.dumps(bill(packages), indent=1))
        return 0
    for package in packages:
        print(f"{package.name} {package.version}: {licence(package) or 'not installed here'}")
    return 0


def audit(packages: list[Package], feed: str) -> int:
    if not feed or not Path(feed).is_dir():
        return _said(
            "audit: nothing was audited: give a folder with records of osv.dev "
            "(PyPI/all.zip), such as make audit FEED=DIR",
            NOT_AUDITED,
        )
    try:
        found, count = holes(packages, records(Path(feed)))
    except ValueError as error:
        return _said(f"audit: {error}", NOT_AUDITED)
    if not count:
        return _said(f"audit: {feed}: has no record about PyPI; nothing was audited", NOT_AUDITED)
    for hole in found:
        print(hole)
    print(f"{len(packages)} packages, {count:,} records about PyPI, {len(found)} known holes")
    return int(bool(found))


def _said(text: str, code: int) -> int:
    print(text, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
