"""The test split stays sealed in all that the stages make, and what breaks the seal is found."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.audit.leaks import FILES, leaks
from pipelines.store.artifacts import Artifact
from pipelines.store.settings import Settings
from tests.conftest import artifact_of
from tests.plain_stages import NAMES

pytestmark = pytest.mark.slow

PIPELINES = ("tiny-reviews", "tiny-play", "tiny-words", "tiny-japanese")


def above(name: str, trained: Settings, writers: Settings) -> dict[str, Artifact]:
    home = trained if name in ("tiny-reviews", "tiny-play") else writers
    return {stage: artifact_of(home, name, stage) for stage in NAMES[:6]}


@pytest.mark.parametrize("name", PIPELINES)
def test_nothing_above_metrics_holds_a_test_document(
    name: str, trained: Settings, writers: Settings
) -> None:
    artifacts = above(name, trained, writers)
    assert list(leaks(artifacts)) == []
    assert "test" not in str(artifacts["model"].manifest["inputs"])
    reads_test = [
        stage
        for stage in NAMES[:6]
        if {"corpus", "batches"} <= set(artifacts[stage].manifest["inputs"])
    ]
    assert reads_test == ["metrics"]


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("stage", FILES)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_test_document_in_another_part_is_found(
    name: str, stage: str, split: str, trained: Settings, writers: Settings, tmp_path: Path
) -> None:
    artifacts = above(name, trained, writers)
    shutil.copytree(artifacts[stage].path, tmp_path / "copy")
    test, other = (
        next((tmp_path / "copy").glob(f"{FILES[stage].format(part)}*")) for part in ("test", split)
    )
    with pq.ParquetFile(other) as file:
        schema, own = file.schema_arrow, file.read()
    stranger = pq.read_table(test).slice(0, 1)
    if stage == "batches":  # their widths differ; the name is what counts
        row = own.slice(0, 1)
        at = row.column_names.index("id")
        stranger = row.set_column(at, "id", stranger["id"])
    pq.write_table(pa.concat_tables([own, stranger.cast(schema)]).cast(schema), other)
    damaged = artifacts | {stage: replace(artifacts[stage], path=tmp_path / "copy")}
    found = list(leaks(damaged))
    assert any(
        f"{stage} artifact" in leak and f"1 test documents are also in {split}" in leak
        for leak in found
    ), found


def test_a_model_that_read_more_than_the_batches_is_found(
    trained: Settings, writers: Settings
) -> None:
    artifacts = above("tiny-reviews", trained, writers)
    model = artifacts["model"]
    manifest = model.manifest | {"inputs": model.manifest["inputs"] | {"corpus": "x"}}
    found = list(leaks(artifacts | {"model": replace(model, manifest=manifest)}))
    assert "was trained on batches, corpus, not only on the batches" in found[0]
    assert "another corpus artifact than the version names" in found[1]
