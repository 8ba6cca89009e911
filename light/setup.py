"""The wheel has what pipelines/export/program.py reaches, as an export with --format light has."""

from __future__ import annotations

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipelines.store.fingerprint import code_of  # noqa: E402


class Reached(build_py):
    """Instead of packages, the files that the program imports."""

    def run(self) -> None:
        for name in code_of("pipelines.export.program"):
            target = Path(self.build_lib) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(ROOT / name), str(target))

    def get_source_files(self) -> list[str]:
        return []


setup(
    cmdclass={"build_py": Reached},
    packages=["pipelines"],
    package_dir={"pipelines": "../pipelines"},
)
