"""The slices of the held-out text that evaluation measures, and their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pipelines.declaration.spec import Spec

SliceKind = Literal["length", "unknown_rate", "part", "group", "speaker"]
# The slices' upper limits: tokens of a document, and the share of unknown ones.
EDGES: dict[str, tuple[float, ...]] = {
    "length": (25, 50, 100, 200, 400),
    "unknown_rate": (0.0, 0.01, 0.03),
}
PARTS = 10  # of the test text, in order, with equal numbers of characters
NAMED = ("group", "speaker")  # kinds whose slices are named in the text
MOST_NAMED = 20  # slices of such a kind: those with the most text, and the rest as OTHERS
OTHERS = "all others"
LABELS = {
    "length": "tokens of the document",
    "unknown_rate": "share of unknown tokens",
    "part": "part of the text",
    "group": "group",
    "speaker": "speaker",
}


def slice_names(kind: str) -> tuple[str, ...]:
    """From the lowest to the highest; the names of NAMED kinds are not known in advance."""
    if kind in NAMED:
        return ()
    if kind == "part":
        return tuple(f"part {number} of {PARTS}" for number in range(1, PARTS + 1))
    shown = [f"{edge:,.0f}" if kind == "length" else f"{edge:.0%}" for edge in EDGES[kind]]
    upper = [
        f"up to {text}" if edge else "none" for edge, text in zip(EDGES[kind], shown, strict=True)
    ]
    return (*upper, f"over {shown[-1]}")


def of_slices(spec: Spec) -> str | None:
    """What the declared slices and their floors do not agree with; None if nothing."""
    slices, floors = spec.evaluation.slices, spec.registry.slice_floors
    for kind, floor in floors.items():
        if kind not in slices:
            return f"registry.slice_floors.{kind}: is not measured; add it to evaluation.slices"
        for name in floor if isinstance(floor, dict) and kind not in NAMED else ():
            if name not in slice_names(kind):
                known = ", ".join(slice_names(kind))
                return f"registry.slice_floors.{kind}: no slice {name!r}; known: {known}"
    of_kind = _of_a_classifier if spec.model.kind == "classifier" else _of_a_language_model
    return of_kind(spec, slices)


def _of_a_classifier(spec: Spec, slices: tuple[SliceKind, ...]) -> str | None:
    if other := next((kind for kind in slices if kind not in EDGES), None):
        return (
            f"evaluation.slices {other} is for language models; a classifier has "
            f"{' and '.join(EDGES)}"
        )
    if spec.registry.slice_floors and spec.registry.metric not in ("accuracy", "log_loss"):
        return (
            f"registry.slice_floors: {spec.registry.metric} is not measured for slices; use "
            "metric accuracy or log_loss"
        )
    return None


def _of_a_language_model(spec: Spec, slices: tuple[SliceKind, ...]) -> str | None:
    if "length" in slices and spec.batches.layout != "documents":
        return (
            "evaluation.slices length is for batches.layout documents; running text has no "
            "lengths, use part"
        )
    grouped = spec.corpus.group is not None or spec.corpus.reader in ("text", "files")
    if "group" in slices and not grouped:
        return (
            f"evaluation.slices group: corpus.reader {spec.corpus.reader} has neither groups nor "
            "files; remove it"
        )
    return None
