"""The batches stage: a row group is a batch, a row is a padded sequence (docs/batches.md).

Documents become one row each, in a few widths ("buckets") that waste the least padding. Language
models can instead read running text in rows of one width: `rows` cuts it into consecutive
sequences; `lanes` arranges it so that lane k of batch b+1 continues lane k of batch b; `windows`
has a row for every sequence_length tokens of a document, and predicts only the next one.
"""

from __future__ import annotations

from typing import Any

from pipelines.batches.document_rows import best_for, write_documents
from pipelines.batches.layout import Layout
from pipelines.batches.text_rows import write_text
from pipelines.batches.tokenized_split import TokenizedSplit
from pipelines.batches.writer import Written, total
from pipelines.declaration.data_sections import SPLITS, UNLABELLED
from pipelines.declaration.model_sections import BatchesSpec
from pipelines.errors import FolioError
from pipelines.store.artifacts import Artifact, Inputs, Workspace
from pipelines.tokens.vocabulary import Vocabulary, folder_digest


def build(inputs: Inputs, config: dict[str, Any], work: Workspace) -> dict[str, Any]:
    """Write `batches/<split>/*.parquet`. Returns rows, slots and padding per split and width.

    Also per split: documents, too_short (those without a token to predict) and, for language
    models, predicted (tokens) and characters (of the text, spelled by the predicted tokens).
    """
    tokens = inputs["tokens"]
    layout = _layout(tokens, config)
    if layout.language_model and layout.spec.layout != "documents":
        return _text(tokens, layout, work)
    return _documents(tokens, layout, work)


def _layout(tokens: Artifact, config: dict[str, Any]) -> Layout:
    spec: BatchesSpec = config["batches"]
    vocabulary = Vocabulary.load(tokens.path / "vocabulary")
    classes = tokens.counts.get("classes", 2) if config["model.kind"] == "classifier" else 0
    metadata = {
        "pad_id": vocabulary.pad_id,
        "unknown_id": vocabulary.unknown_id,
        "vocabulary_size": vocabulary.size,
        "vocabulary_digest": folder_digest(tokens.path / "vocabulary"),
        "seed": config["seed"],
        "kind": config["model.kind"],
        "predict": "last" if spec.layout == "windows" else "all",
        **({"classes": classes} if classes > 2 else {}),
    }
    return Layout(
        spec,
        config["model.kind"] == "language_model",
        config["model.stateful"],
        vocabulary.pad_id,
        vocabulary.id_type,
        vocabulary.markers,
        metadata,
    )


def _documents(tokens: Artifact, layout: Layout, work: Workspace) -> dict[str, Any]:
    more = [UNLABELLED] if tokens.files(f"tokens/{UNLABELLED}-") else []
    texts = {split: TokenizedSplit.read(tokens, split) for split in (*SPLITS, *more)}
    fewest = 1 + int(layout.language_model)  # it predicts n - 1 tokens of a document of n tokens
    too_short = {split: text.shorter_than(fewest) for split, text in texts.items()}
    for split, text in texts.items():
        if too_short[split] == text.documents:
            raise FolioError(
                f"{split} text has no document with at least {fewest} tokens; give "
                "more text or a larger share to the split"
            )
    widths = best_for(texts, layout)
    written = write_documents(tokens, list(texts), widths, layout, work)
    counts: dict[str, Any] = {"widths": widths}
    for split, text in texts.items():
        sums = total(written[split])
        if sums["rows"] + too_short[split] != text.documents:
            raise _bug(split, sums["rows"], f"for {text.documents} documents")
        counts[split] = _counted(
            sums, text, too_short[split], list(written[split].values()), layout
        )
    return counts


def _text(tokens: Artifact, layout: Layout, work: Workspace) -> dict[str, Any]:
    texts = {split: TokenizedSplit.read(tokens, split) for split in SPLITS}
    written = write_text(tokens, texts, layout, work)
    width, windows = layout.width, layout.spec.layout == "windows"
    counts: dict[str, Any] = {"widths": [width]}
    for split, text in texts.items():
        too_short = text.shorter_than(width + 1) if windows else 0
        if windows and written[split].rows != text.beyond(width):
            raise _bug(split, written[split].rows, f"instead of {text.beyond(width)}")
        sums = written[split].counts(width)
        counts[split] = _counted(sums, text, too_short, [written[split]], layout)
    return counts


def _bug(split: str, rows: int, wanted: str) -> FolioError:
    return FolioError(f"batches {split}: {rows} rows written {wanted}; this is a bug in Folio")


def _counted(
    counts: dict[str, Any],
    text: TokenizedSplit,
    too_short: int,
    written: list[Written],
    layout: Layout,
) -> dict[str, Any]:
    """The counts of a split, with its documents and predictions."""
    found = counts | {"documents": text.documents, "too_short": too_short}
    if not layout.language_model:
        return found
    predicted = sum(sums.predicted_text for sums in written)
    return found | {
        "predicted": sum(sums.predicted for sums in written),
        "characters": text.spelled(predicted, len(layout.markers)),
    }
