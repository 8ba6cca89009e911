"""A TFDS source: the texts of its splits, record by record, as Parquet shards.

A dataset that is prepared locally is read there. Otherwise its prepared files are downloaded from
where TFDS publishes them. Only if that fails is TFDS asked to prepare it, since for wiki40b that
would need Apache Beam and permission to read a Google bucket.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.declaration.spec import SourceSpec
from pipelines.errors import FolioError, UnreachableError, did_you_mean, first_line
from pipelines.files.home import users_files
from pipelines.network.http_answers import MissingError
from pipelines.source.text_shards import ShardWriter
from pipelines.source.tfds_library import errors_alone, load_tfds
from pipelines.store.artifacts import Workspace

if TYPE_CHECKING:
    from tensorflow_datasets.core import DatasetBuilder

SHOWN_RECORDS = 1000  # between two progress reports
# (name in a data_dir, whether TFDS publishes it) -> the file, from wherever it is available
Bring = Callable[[str, bool], Path]


def write_records(
    dataset: str, source: SourceSpec, work: Workspace, bring: Bring
) -> dict[str, Any]:
    """Write `tfds/<split>-NNNN.parquet` to work.out: columns record (from 0) and text (bytes).

    Returns {"files", "bytes", "origins": {dataset: {"from", "address", "version", "feature",
    "records": {split: number}}}}. Raises FolioError for names that TFDS does not know (with the
    closest ones) and damaged files, UnreachableError if the dataset is not here and cannot be
    fetched.
    """
    builder, origin = _prepared(dataset, source.tfds_splits, work, bring)
    splits = {name: _split(builder, name) for name in source.tfds_splits}
    _check_feature(builder, source)
    total = sum(split.num_examples for split in splits.values())
    done = 0
    for name, split in splits.items():
        writer = ShardWriter(work.out / "tfds", builder.info.full_name, name, source.tfds_feature)
        for text in _texts(builder, split, source.tfds_feature):
            writer.add(text)
            done += 1
            if done % SHOWN_RECORDS == 0 or done == total:
                work.progress(done, total, f"records of {builder.info.full_name}")
        writer.close()
    files = list((work.out / "tfds").iterdir())
    origin |= {
        "version": str(builder.version),
        "feature": source.tfds_feature,
        "records": {name: split.num_examples for name, split in splits.items()},
    }
    return {
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "origins": {builder.info.full_name: origin},
    }


def _prepared(
    dataset: str, splits: tuple[str, ...], work: Workspace, bring: Bring
) -> tuple[DatasetBuilder, dict[str, Any]]:
    """A builder whose data are on disk, and where they came from."""
    builder = _builder(dataset, os.environ.get("TFDS_DATA_DIR"))
    here = {"from": "prepared here", "address": str(builder.data_path)}
    with errors_alone("absl"):
        if builder.is_prepared():
            return builder, here
    wanted = f"source.tfds {dataset}: not prepared in {builder.data_path}"
    advice = (
        "set TFDS_DATA_DIR or --mirror to a folder that contains "
        f"{builder.info.full_name}, or use source.path with your own text"
    )
    try:
        return _fetched(builder, dataset, splits, work, bring)
    except UnreachableError as failure:
        raise UnreachableError(f"{wanted}; {failure}; {advice}") from failure
    except MissingError as failure:
        if work.offline:
            raise UnreachableError(
                f"{wanted}, and --offline forbids downloading it; {advice}"
            ) from failure
    work.progress(0, None, f"TFDS is preparing {builder.info.full_name}")
    try:
        with contextlib.redirect_stdout(sys.stderr), users_files(builder.data_path):
            builder.download_and_prepare()
    except Exception as error:
        raise FolioError(
            f"{wanted}, and TFDS cannot prepare it ({first_line(error)}); {advice}"
        ) from error
    return builder, here | {"from": "prepared by tfds"}


def _fetched(
    builder: DatasetBuilder, dataset: str, splits: tuple[str, ...], work: Workspace, bring: Bring
) -> tuple[DatasetBuilder, dict[str, Any]]:
    """The builder on the published files that `splits` need, downloaded to work.scratch."""
    root, folder = work.scratch / "tfds", builder.info.full_name
    public = type(builder).__module__.startswith("tensorflow_datasets.")  # the default is private

    def fetch(name: str) -> None:
        target = root / folder / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            bring(f"{folder}/{name}", public).replace(target)

    fetch("dataset_info.json")
    fetched = _builder(dataset, str(root))
    for split in splits:
        for part in _split(fetched, split).file_instructions:
            try:
                fetch(Path(part.filename).name)
            except MissingError as failure:
                raise FolioError(f"{failure}; the published {folder} is incomplete") from failure
    return fetched, {"from": "published by tfds", "address": folder}


def _builder(name: str, data_dir: str | None) -> DatasetBuilder:
    tfds = load_tfds()
    try:
        with errors_alone("absl"):
            return tfds.builder(name, data_dir=data_dir)
    except Exception as error:
        dataset, _, rest = name.partition(":")[0].partition("/")
        known = tfds.list_builders(with_community_datasets=False)
        if dataset not in known:
            raise FolioError(
                f"source.tfds {name}: tensorflow-datasets has no {dataset!r}"
                f"{_nearest(dataset, known)}"
            ) from error
        configs = list(tfds.builder_cls(dataset).builder_configs)
        if rest and rest not in configs:
            raise FolioError(
                f"source.tfds {name}: {dataset} has no configuration {rest!r}"
                f"{_nearest(rest, configs)}"
            ) from error
        raise FolioError(
            f"source.tfds {name}: {first_line(error)}; fix the name, or its version"
        ) from error


def _split(builder: DatasetBuilder, name: str) -> Any:
    """The SplitInfo of a split, or of a slice such as train[:1%]."""
    splits = builder.info.splits
    base = name.partition("[")[0]
    if base not in splits:
        raise FolioError(
            f"source.tfds_splits: {builder.info.full_name} has no split {base!r}"
            f"{_nearest(base, list(splits))}"
        )
    try:
        return splits[name]
    except ValueError as error:
        raise FolioError(
            f"source.tfds_splits {name}: not a slice of {base}; write it like {base}[:1%] "
            f"or {base}[100:200]"
        ) from error


def _check_feature(builder: DatasetBuilder, source: SourceSpec) -> None:
    features, name = builder.info.features, source.tfds_feature
    if name not in features:
        raise FolioError(
            f"source.tfds_feature: {builder.info.full_name} has no feature {name!r}"
            f"{_nearest(name, list(features))}"
        )
    if not _is_text(features[name]):
        texts = ", ".join(other for other in features if _is_text(features[other]))
        raise FolioError(
            f"source.tfds_feature: {name} of {builder.info.full_name} is not a text; text "
            f"features: {texts or 'none'}"
        )


def _is_text(feature: Any) -> bool:
    return feature.shape == () and feature.np_dtype == np.object_


def _nearest(wrong: str, known: list[str]) -> str:
    listed = f"; known: {', '.join(sorted(known)[:20])}{', …' if len(known) > 20 else ''}"
    return did_you_mean(wrong, known, most=3) or listed


def _texts(builder: DatasetBuilder, split: Any, feature: str) -> Iterator[bytes]:
    """The feature's bytes of each record, in the order of the files."""
    from tensorflow.train import Example

    number = 0
    try:
        for raw in _examples(builder, split):
            values = Example.FromString(raw).features.feature[feature].bytes_list.value
            yield values[0] if values else b""
            number += 1
    except Exception as error:  # varies with the file format
        raise FolioError(
            f"{builder.data_path}: split {split.name} cannot be read beyond record "
            f"{number} ({first_line(error)}); delete that folder and run again"
        ) from error
    if number != split.num_examples:
        raise FolioError(
            f"{builder.data_path}: split {split.name} has {number:,} records, but its "
            f"description says {split.num_examples:,}; delete that folder and run again"
        )


def _examples(builder: DatasetBuilder, split: Any) -> Iterator[bytes]:
    if builder.info.file_format.value == "tfrecord":
        for part in split.file_instructions:
            yield from islice(_tf_records(part.filename), part.skip, part.skip + part.take)
        return
    from tensorflow_datasets.core.decode import DeserializeMethod

    method = DeserializeMethod.RAW_BYTES
    yield from builder.as_data_source(split.name, deserialize_method=method)


def _tf_records(path: str) -> Iterator[bytes]:
    """Like tf.data.TFRecordDataset, which would allocate the GPU's memory."""
    from tensorflow.compat.v1.io import tf_record_iterator

    with errors_alone("tensorflow"):  # it recommends tf.data, at length
        return tf_record_iterator(path)
