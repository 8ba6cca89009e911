"""Registered models that answer."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.registry.versions import Version
    from pipelines.serving.predictor import Predictor


class Model:
    """A registered version, loaded. It answers with the rows that commands print with --json."""

    def __init__(self, version: Version, predictor: Predictor) -> None:
        self.name, self.version = version.name, version.number
        self.kind, self.labels = predictor.kind, predictor.labels
        self._predictor = predictor

    def __repr__(self) -> str:
        return f"<folio model {self.name}@{self.version}: {self.kind.replace('_', ' ')}>"

    def predict(
        self, texts: Iterable[str], top: int = 10, *, replace_unknown: bool = False
    ) -> list[dict[str, Any]]:
        """One row per text: a classifier's label and probability, with the `probabilities` of all
        if there are more than two, or of a language model the `top` most likely next tokens."""
        texts = _several(texts)
        if self.kind == "classifier":
            return self._predictor.predict(texts)
        find = self._predictor.next_tokens
        return [{"text": text, "next": find(text, top, replace_unknown)} for text in texts]

    def generate(
        self,
        starts: str | Iterable[str] = "",
        *,
        length: int = 400,
        temperature: float = 0.8,
        seed: int = 1,
        top_k: int | None = None,
        replace_unknown: bool = False,
        context: int | None = None,
        count: int = 1,
    ) -> list[dict[str, Any]]:
        """`count` rows per start, each with a `text` of up to `length` tokens that continues it.
        `docs/generating.md` describes the arguments."""
        return self._predictor.generate(
            [starts] if isinstance(starts, str) else starts,
            length=length,
            temperature=temperature,
            seed=seed,
            top_k=top_k,
            replace_unknown=replace_unknown,
            context=context,
            count=count,
        )


def load(reference: str | PathLike[str]) -> Model:
    """The model that `NAME@champion`, `NAME@VERSION` or NAME (its champion) names.

    Raises FolioError if there is none, or if its files are not those that were registered.
    """
    from pipelines.files.home import home_folder
    from pipelines.serving.predictor import Predictor
    from pipelines.serving.registered import package_of

    home = home_folder()
    version = _version(named(reference))
    # Other code of this process may want the parts of Keras that Folio does not use.
    return Model(version, Predictor.load(package_of(home, version), lean=False))


def named(reference: str | PathLike[str]) -> str:
    """Raises UsageError if it would not stand in one line."""
    from pipelines.errors import UsageError

    name = fspath(reference)
    if not name.isprintable():
        raise UsageError(f"{name!r}: a name has no line breaks and no control characters")
    return name


def _version(reference: str) -> Version:
    from pipelines.declaration.reading.declared import pipeline_name
    from pipelines.errors import UsageError
    from pipelines.files.home import home_folder
    from pipelines.registry.lookup import named_version
    from pipelines.registry.references import resolve
    from pipelines.store.settings import Settings

    if "@" not in reference:
        return named_version(home_folder(), pipeline_name(reference))
    found = resolve(reference, Settings.at(home_folder())).version
    if found is None:
        raise UsageError(f"{reference}: name a model, such as imdb@champion")
    return found


def _several(texts: Iterable[str]) -> list[str]:
    """A single text would be taken for its characters."""
    return [texts] if isinstance(texts, str) else list(texts)
