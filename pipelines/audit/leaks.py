"""Checks in the files that the test split was not used: nothing that trained or selected a model,
from the corpus to the batches, contains a test document outside the test split."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.declaration.data_sections import LEARNED_FROM
from pipelines.store.artifacts import Artifact

FILES = {"corpus": "documents/{}-", "tokens": "tokens/{}-", "batches": "batches/{}/"}
POSITION = r"@\d+$"  # of a row of running text in its document


def leaks(above: Mapping[str, Artifact], upstream: Iterable[Artifact] = ()) -> Iterator[str]:
    """Each way, in words, in which test text reached the model whose artifacts, by stage, are in
    `above`. Missing stages are skipped. `upstream` are the corpora of the models that it started
    from."""
    for stage, artifact in above.items():
        if stage in FILES:
            yield from _in_both(artifact)
    yield from _read_more(above)
    if "corpus" in above:
        for corpus in upstream:
            yield from _learned_upstream(above["corpus"], corpus)


def _in_both(artifact: Artifact) -> Iterator[str]:
    """Documents of the test split in another split, or rows in the wrong split's files."""
    test = pc.unique(_ids(artifact, "test"))
    for split in LEARNED_FROM:
        common = pc.filter(test, pc.is_in(test, value_set=pc.unique(_ids(artifact, split))))
        if len(common):
            yield (
                f"{artifact.stage} artifact {artifact.key[:12]}: {len(common)} test "
                f"documents are also in {split}, such as {common[0]}"
            )
        if artifact.stage != "batches":
            strangers = sum(
                pc.sum(pc.not_equal(_column(path, "split"), split)).as_py() or 0
                for path in _files(artifact, split)
            )
            if strangers:
                yield (
                    f"{artifact.stage} artifact {artifact.key[:12]}: {strangers} rows in "
                    f"the files of {split} belong to another split"
                )


def _read_more(above: Mapping[str, Artifact]) -> Iterator[str]:
    """A model that read anything other than the batches, or other artifacts than its version
    names."""
    model = above.get("model")
    if model is not None and set(model.manifest["inputs"]) - {"start"} != {"batches"}:
        read = ", ".join(model.manifest["inputs"])
        yield f"model artifact {model.key[:12]}: was trained on {read}, not only on the batches"
    for artifact in above.values():
        if artifact.stage in ("source", "start"):
            continue  # their inputs are files, or another version's
        for stage, digest in artifact.manifest["inputs"].items():
            if stage in above and above[stage].digest != digest:
                yield (
                    f"{artifact.stage} artifact {artifact.key[:12]}: was made from "
                    f"another {stage} artifact than the version names"
                )


def _learned_upstream(own: Artifact, other: Artifact) -> Iterator[str]:
    """Test texts that another pipeline's model has learned from."""
    test = pa.chunked_array(
        [chunk for path in _files(own, "test") for chunk in _column(path, "text").chunks],
        pa.string(),
    )
    learned = sum(
        pc.sum(pc.is_in(_column(path, "text"), value_set=test)).as_py() or 0
        for split in LEARNED_FROM
        for path in _files(other, split)
    )
    if learned:
        yield (
            f"corpus artifact {other.key[:12]} of {other.manifest['pipeline']}: the model that was "
            f"started from has learned from {learned} documents that are in the test split here"
        )


def _files(artifact: Artifact, split: str) -> list[Path]:
    return artifact.files(FILES[artifact.stage].format(split))


def _column(path: Path, name: str) -> pa.ChunkedArray:
    return pq.read_table(path, columns=[name])[name]


def _ids(artifact: Artifact, split: str) -> pa.ChunkedArray:
    """The documents' names; for rows of running text those of the documents that they start in."""
    chunks: list[pa.Array] = []
    for path in _files(artifact, split):
        ids = pc.cast(_column(path, "id"), pa.string())
        if artifact.stage == "batches" and _is_running_text(path):
            ids = pc.replace_substring_regex(ids, pattern=POSITION, replacement="")
        chunks += ids.chunks
    return pa.chunked_array(chunks, pa.string())


def _is_running_text(path: Path) -> bool:
    return json.loads(pq.read_schema(path).metadata[b"layout"]) != "documents"
