"""A package with the program that answers by NumPy: Python and five small libraries suffice."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipelines.errors import FolioError
from pipelines.files.home import PROJECT
from pipelines.serving.package import Package
from pipelines.store.fingerprint import code_of, library_version

PROGRAM = "pipelines.export.program"
MAIN = f'''"""python FOLDER "a text": see README.md."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "code"))

from {PROGRAM} import main  # noqa: E402

main(HERE / "package")
'''
ALWAYS = ("h5py", "numpy", "pydantic", "threadpoolctl")
BY_KIND = {"char": (), "word": ("polars",), "subword": ("sentencepiece",)}
BY_MIX = {None: (), "n-gram": (), "nb-svm": ("scikit-learn", "scipy")}
README = """# {title}

The model with the program that answers by NumPy, without TensorFlow, Keras and MLflow:

    pip install -r requirements.txt
    python . {example}
    python . --help

A text may also be a line of the standard input. The answers are those of `folio {command}`, within
1e-5. `package/` is the model, `code/` the program's source.
"""


def write_light(folder: Path, package: Path, title: str) -> None:
    """The new folder `folder`. Raises FolioError if only Keras can compute the network."""
    found = Package.read(package)
    if found.spec.builder:
        raise FolioError(
            f"{title}: model.builder makes its network, which only Keras and that function can "
            "load; export it without --format"
        )
    shutil.copytree(package, folder / "package")
    for name in code_of(PROGRAM):
        (folder / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, folder / "code" / name)
    (folder / "__main__.py").write_text(MAIN)
    lines = [f"{name}=={library_version(name)}" for name in _libraries(found)]
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in lines))
    writes = found.settings.kind == "language_model"
    shown = ('"Once upon"', "generate") if writes else ('"A film to remember."', "predict")
    text = README.format(title=title, example=shown[0], command=shown[1])
    (folder / "README.md").write_text(text, encoding="utf-8")


def _libraries(package: Package) -> list[str]:
    more = BY_KIND[package.vocabulary.kind] + BY_MIX[package.settings.mix]
    return sorted(ALWAYS + more)
