"""Functions of the user's own that a declaration names, as `package.module:function`.

A module is looked for in the folder of the declaration, then among the installed ones. Nothing is
imported to find it and to know its code.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipelines.errors import FolioError, UsageError, did_you_mean, first_line
from pipelines.files.digests import digest_file

IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]+))",
    re.MULTILINE,
)
COMMENT = re.compile(r"#.*")


class OwnFunction:
    """`key` declares it as `reference`; `folder` is that of the declaration.

    Raises UsageError if there is no such module.
    """

    def __init__(self, key: str, reference: str, folder: Path) -> None:
        self.named = f"{key} {reference}"
        self.module, _, self.name = reference.partition(":")
        top = self.module.partition(".")[0]
        if top in sys.stdlib_module_names:
            raise UsageError(f"{self.named}: {top} is a module of Python; rename yours")
        self.is_local = _file(folder, self.module) is not None
        root = folder if self.is_local else _installed(top)
        if root is None or _file(root, self.module) is None:
            raise UsageError(
                f"{self.named}: there is no module {self.module} in {folder}, beside the "
                "declaration, and none is installed"
            )
        self.root = root

    def files(self) -> dict[str, Path]:
        """{module: file} of the module, of those of the same folder or package that it imports, and
        of the packages that they are in."""
        top, found, pending = self.module.partition(".")[0], {}, [self.module]
        while pending:
            name = pending.pop()
            path = _file(self.root, name)
            if name in found or path is None:
                continue
            if not self.is_local and name.partition(".")[0] != top:
                continue  # another installed package
            found[name] = path
            pending += [name.rpartition(".")[0], *_imported(path, name)]
        return found

    def fingerprint(self) -> dict[str, str]:
        """{file: digest}, relative to the folder in which the module was found."""
        paths = self.files().values()
        return {str(path.relative_to(self.root)): digest_file(path) for path in sorted(paths)}

    def loaded(self) -> Callable[..., Any]:
        """The function. Raises FolioError with one line if its module cannot be imported, and
        UsageError if it has no such function."""
        with self._importable():
            try:
                module = import_module(self.module)
            except (Exception, SystemExit) as error:
                raise FolioError(f"{self.named}: cannot be imported: {self.said(error)}") from error
        function = getattr(module, self.name, None)
        if not callable(function):
            known = [name for name, one in vars(module).items() if callable(one)]
            raise UsageError(
                f"{self.named}: {module.__file__} has no function {self.name}"
                f"{did_you_mean(self.name, known)}"
            )
        return function

    def said(self, error: BaseException) -> str:
        """An error in the user's code in one line, with the place in it."""
        frames = [(one.filename, one.lineno) for one in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError) and error.filename:
            frames.append((error.filename, error.lineno))
        own = {str(path): path.relative_to(self.root) for path in self.files().values()}
        places = [f"{own[name]}:{line}: " for name, line in frames if name in own]
        what = first_line(error, "")
        return f"{''.join(places[-1:])}{type(error).__name__}{': ' if what else ''}{what}"

    @contextmanager
    def _importable(self) -> Iterator[None]:
        """Its folder comes first while it is imported, and stays last for later imports. Modules
        of another declaration may have the same names."""
        if not self.is_local:
            yield
            return
        for name in self.files():
            sys.modules.pop(name, None)
        folder = str(self.root)
        invalidate_caches()
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.path.remove(folder)
            if folder not in sys.path:
                sys.path.append(folder)


def _file(root: Path, module: str) -> Path | None:
    """Its source, as Python looks for it: a package comes before a module."""
    *packages, name = module.split(".")
    folder = root.joinpath(*packages)
    paths = (folder / name / "__init__.py", folder / f"{name}.py") if name else ()
    return next((path for path in paths if path.is_file()), None)


def _installed(top: str) -> Path | None:
    """The folder that an installed package or module is in."""
    try:
        found = find_spec(top)
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    places = list(found.submodule_search_locations or ()) or [found.origin or ""]
    return Path(places[0]).parent


def _imported(path: Path, module: str) -> Iterator[str]:
    """The modules that one may import, by all names that could be modules."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    text = path.read_text(encoding="utf-8", errors="replace")
    for dots, base, listed, plain in IMPORT.findall(text):
        names = [part.split()[0] for part in _parts(listed or plain)]
        if plain:
            yield from names
            continue
        above = package.split(".")[: len(package.split(".")) - len(dots) + 1] if dots else []
        base = ".".join(filter(None, [*above, base]))
        yield base
        yield from (f"{base}.{name}".strip(".") for name in names)


def _parts(listed: str) -> list[str]:
    parts = (part.strip() for part in COMMENT.sub("", listed).strip("() \t").split(","))
    return [part for part in parts if part]
