"""Proves from the files that the test split stayed sealed: nothing that trained a model or chose
it, from the corpus to the batches, holds a test document outside the test part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.declaration.data_sections import LEARNED_FROM
from pipelines.store.artifacts import Artifact

FILES = {"corpus": "documents/{}-", "tokens": "tokens/{}-", "batches": "batches/{}/"}
POSITION = r"@\d+$"  # of a row of running text in its document


def leaks(above: Mapping[str, Artifact]) -> Iterator[str]:
    """Each way, in words, in which test text reached the model whose artifacts, by stage, `above`
    has. Stages that are not there are passed over."""
    for stage, artifact in above.items():
        if stage in FILES:
            yield from _in_both(artifact)
    yield from _read_more(above)


def _in_both(artifact: Artifact) -> Iterator[str]:
    """Documents of the test part in another part, or rows that stand in a part not their own."""
    test = pc.unique(_ids(artifact, "test"))
    for split in LEARNED_FROM:
        common = pc.filter(test, pc.is_in(test, value_set=pc.unique(_ids(artifact, split))))
        if len(common):
            yield (
                f"{artifact.stage} artifact {artifact.key[:12]}: {len(common)} test documents "
                f"are in {split} as well, such as {common[0]}"
            )
        if artifact.stage != "batches":
            strangers = sum(
                pc.sum(pc.not_equal(_column(path, "split"), split)).as_py() or 0
                for path in _files(artifact, split)
            )
            if strangers:
                yield (
                    f"{artifact.stage} artifact {artifact.key[:12]}: {strangers} rows in the "
                    f"files of {split} are of another split"
                )


def _read_more(above: Mapping[str, Artifact]) -> Iterator[str]:
    """A model that read anything but the batches, or other artifacts than are named above it."""
    model = above.get("model")
    if model is not None and set(model.manifest["inputs"]) != {"batches"}:
        read = ", ".join(model.manifest["inputs"])
        yield f"model artifact {model.key[:12]}: was trained on {read}, not on the batches alone"
    for artifact in above.values():
        if artifact.stage == "source":
            continue  # its inputs are files
        for stage, digest in artifact.manifest["inputs"].items():
            if stage in above and above[stage].digest != digest:
                yield (
                    f"{artifact.stage} artifact {artifact.key[:12]}: was made from another "
                    f"{stage} artifact than the one that the version names"
                )


def _files(artifact: Artifact, split: str) -> list[Path]:
    return artifact.files(FILES[artifact.stage].format(split))


def _column(path: Path, name: str) -> pa.ChunkedArray:
    return pq.read_table(path, columns=[name])[name]


def _ids(artifact: Artifact, split: str) -> pa.ChunkedArray:
    """The documents' names; of rows of running text those of the documents that they begin in."""
    chunks: list[pa.Array] = []
    for path in _files(artifact, split):
        ids = pc.cast(_column(path, "id"), pa.string())
        if artifact.stage == "batches" and _is_running_text(path):
            ids = pc.replace_substring_regex(ids, pattern=POSITION, replacement="")
        chunks += ids.chunks
    return pa.chunked_array(chunks, pa.string())


def _is_running_text(path: Path) -> bool:
    return json.loads(pq.read_schema(path).metadata[b"layout"]) != "documents"
