"""A bill of materials in CycloneDX 1.6: https://cyclonedx.org/docs/1.6/json/"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from supply.lock import Package, licence


def bill(packages: Sequence[Package]) -> dict[str, Any]:
    """The same packages give the same document: it has no time, and its number comes from them."""
    number = uuid5(NAMESPACE_URL, " ".join(package.purl for package in packages))
    version = metadata.version("folio")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": "folio",
                "name": "folio",
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [_component(package) for package in packages],
    }


def _component(package: Package) -> dict[str, Any]:
    named = licence(package)
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        **({"licenses": [{"license": {"name": named}}]} if named else {}),
    }
