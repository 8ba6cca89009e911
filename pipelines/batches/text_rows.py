"""Rows of running text: consecutive sequences, lanes that carry the state, or windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from pipelines.batches import writer
from pipelines.batches.layout import Layout, file_names, rows_of_files
from pipelines.batches.running_text import TokenStream, gather
from pipelines.batches.tokenized_split import TokenizedSplit
from pipelines.batches.writer import BatchWriter, Written
from pipelines.errors import FolioError
from pipelines.steps.step import Step, move
from pipelines.store.artifacts import Artifact, Workspace

# Held-out text is read with the state carried; with few lanes, hardly any token lacks context.
HELD_OUT_LANES = {"validation": 8, "test": 1}


@dataclass(frozen=True)
class Cut:
    """How a split is cut: into how many `batches` of lanes or rows, or into windows."""

    split: str
    batch_size: int
    batches: int = 0
    lanes: int = 0
    windows: bool = False

    @property
    def layout(self) -> str:
        return "windows" if self.windows else "lanes" if self.lanes else "rows"

    def files(self, place: Path, layout: Layout) -> list[tuple[int, int]]:
        """From which to before which batch, or window, each file goes."""
        each = writer.BATCHES_PER_FILE
        if not self.windows:
            return [(at, min(at + each, self.batches)) for at in range(0, self.batches, each)]
        stream = TokenStream(place, self.split, layout.id_type, layout.pad_id)
        written = stream.windows_at_once(layout.width)
        edges = [0, *accumulate(rows_of_files(written, self.batch_size, each))]
        return list(pairwise(edges))


def write_text(
    tokens: Artifact, texts: Mapping[str, TokenizedSplit], layout: Layout, work: Workspace
) -> dict[str, Written]:
    """{split: its sums}. Each split is gathered as one text; its files are then written apart."""
    cut = _windows if layout.spec.layout == "windows" else _sequences
    cuts = [cut(split, text, layout) for split, text in texts.items()]
    shards = {split: [str(path) for path in tokens.files(f"tokens/{split}-")] for split in texts}
    gathering = [
        Step(
            f"gather-{split}", gather, {"split": split, "shards": found, "id_type": layout.id_type}
        )
        for split, found in shards.items()
    ]
    work.steps.run(work.scratch, gathering, work.progress, "texts gathered")
    steps, places = [], []
    for one in cuts:
        files = one.files(work.scratch, layout)
        names = file_names(one.split, layout.width, len(files))
        for name, (first, stop) in zip(names, files, strict=True):
            arguments = {"name": name, "cut": one, "layout": layout, "first": first, "stop": stop}
            steps.append(Step(name.replace("/", "-"), write_file, arguments))
            places.append(one.split)
    done = work.steps.run(work.scratch, steps, work.progress, "files of batches written")
    written = {split: Written() for split in texts}
    for split, found in zip(places, done, strict=True):
        written[split].add(found.found)
        move(work.scratch, work.out, list(found.files))
    return written


def _sequences(split: str, text: TokenizedSplit, layout: Layout) -> Cut:
    """The documents concatenated: independent rows, or lanes that carry the state."""
    width, size, tokens = layout.width, layout.spec.batch_size, text.kept
    if tokens <= (width if split == "train" else 1):
        raise FolioError(
            f"{split} text has {tokens} tokens, too few for one sequence "
            f"of {width}; give more text or a shorter batches.sequence_length"
        )
    continued = layout.stateful and layout.spec.layout == "text"
    lanes = HELD_OUT_LANES.get(split, size if continued else 0)
    lanes = min(lanes, (tokens - 1) // width)
    if not lanes:
        return Cut(split, size, -(-(tokens - 1) // (width * size)))
    longest = -(-(tokens - 1) // lanes)
    return Cut(split, lanes, -(-longest // width), lanes)


def _windows(split: str, text: TokenizedSplit, layout: Layout) -> Cut:
    width = layout.width
    if not text.beyond(width):
        raise FolioError(
            f"{split} text has no document with more than {width} tokens; give more text "
            "or a shorter batches.sequence_length"
        )
    return Cut(split, layout.spec.batch_size, windows=True)


def write_file(
    place: Path, out: Path, name: str, cut: Cut, layout: Layout, first: int, stop: int
) -> dict[str, Any]:
    """Writes the batches, or windows, from `first` to before `stop`; returns their sums."""
    width = layout.width
    columns = layout.columns(cut.split, width, cut.batch_size, layout=cut.layout, buckets=[width])
    stream = TokenStream(place, cut.split, layout.id_type, layout.pad_id)
    if cut.windows:
        found = stream.windows(width, first, stop)
    elif cut.lanes:
        found = stream.lanes(cut.lanes, width, first, stop)
    else:
        found = stream.rows(width, cut.batch_size, first, stop)
    with BatchWriter(out / name, columns, cut.batch_size, layout.markers) as rows:
        for table in found:
            if cut.lanes:  # several batches, or one of the last, of those lanes that have not ended
                rows.batch_size = min(table.num_rows, cut.lanes)
            rows.write(table)
    return vars(rows.written)
